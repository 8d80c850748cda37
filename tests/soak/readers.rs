//! The subscribers: on each transport, steady, reconnecting, slow, stalled, and kicked.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use sse_bus::{
    Client, EventId,
    client::{self, Backoff},
    protocol::{EventMessage, Gap, Subscribe},
};

use crate::{
    delivery_check::{DeliveryCheck, Wanted},
    harness::{Daemon, EventStream, Lines, PATIENCE},
};

/// How a subscriber connects.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    Sse,
    /// SSE over the local socket.
    Local,
    Lines,
    /// The library's client, which reconnects by itself.
    Library,
}

/// What a subscriber does between events.
#[derive(Clone, Copy)]
pub(crate) enum Habit {
    Reads,
    /// Reconnects with the last id after about this many events.
    Leaves(u64),
    /// Pauses after about this many events.
    Pauses(u64, Duration),
}

/// A subscriber.
#[derive(Clone, Copy)]
pub(crate) struct Reader {
    pub(crate) name: &'static str,
    pub(crate) wanted: Wanted,
    pub(crate) way: Way,
    /// Its `slow` policy.
    pub(crate) slow: &'static str,
    pub(crate) habit: Habit,
}

/// One received item.
enum Item {
    Event(EventId, String),
    Gap(EventId, Gap),
}

type Source<'a> = Box<dyn FnMut() -> Option<Item> + 'a>;

impl Reader {
    /// Reads from an event until the last of all publishers, and checks each one. `ending` is set when they publish no
    /// more.
    pub(crate) fn run(self, daemon: &Daemon, start: EventId, ending: &AtomicBool) -> DeliveryCheck {
        let mut check = DeliveryCheck::new(self.name, self.wanted, start);
        // A generator of its own.
        let mut random = self.name.bytes().fold(1, |hash: u64, byte| hash.wrapping_mul(31) + u64::from(byte)) | 1;
        let mut about = |events: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            events / 2 + random % events.max(1)
        };
        let mut ended = None;
        loop {
            let mut source = self.connect(daemon, check.last);
            let mut until = about(self.habit.events());
            while let Some(item) = source() {
                match item {
                    Item::Event(id, data) => check.event(id, &data),
                    Item::Gap(id, gap) => check.gap(id, &gap),
                }
                if check.has_ended() {
                    check.close();
                    return check;
                }
                until = until.saturating_sub(1);
                if until > 0 || ending.load(Ordering::Relaxed) {
                    continue;
                }
                until = about(self.habit.events());
                match self.habit {
                    Habit::Reads => {}
                    Habit::Leaves(_) => break,
                    Habit::Pauses(_, pause) => {
                        let began = Instant::now();
                        while began.elapsed() < pause && !ending.load(Ordering::Relaxed) {
                            thread::sleep(Duration::from_millis(100));
                        }
                    }
                }
            }
            check.reconnects();
            if ending.load(Ordering::Relaxed) {
                let since = *ended.get_or_insert_with(Instant::now);
                assert!(since.elapsed() < PATIENCE, "{}: the end does not come", self.name);
            }
        }
    }

    /// Subscribes to the events after an id.
    fn connect(self, daemon: &Daemon, last: EventId) -> Source<'static> {
        let filters = self.wanted.filters();
        match self.way {
            Way::Sse | Way::Local => {
                let Reader { name, slow, .. } = self;
                let path = format!("/events?topic={}&client={name}&slow={slow}", filters.join("&topic="));
                let (last, host) = (last.to_string(), daemon.address.to_string());
                let headers = [("Last-Event-ID", last.as_str())];
                let stream = match self.way {
                    Way::Sse => EventStream::open(Box::new(daemon.tcp()), &host, &path, &headers),
                    _ => EventStream::open(Box::new(daemon.local()), "bus", &path, &headers),
                };
                sse(stream)
            }
            Way::Lines => {
                let mut lines = daemon.lines();
                let subscribe = serde_json::json!({"subscribe": {
                    "filters": filters, "client": self.name, "slow": self.slow, "since": last.to_string(),
                }});
                assert!(lines.ask(subscribe.to_string())["subscribed"].is_object());
                json(lines)
            }
            Way::Library => {
                let mut subscribe = Subscribe::new(filters);
                (subscribe.client, subscribe.since) = (Some(self.name.into()), Some(last.to_string()));
                library(daemon, subscribe)
            }
        }
    }
}

impl Habit {
    fn events(self) -> u64 {
        match self {
            Habit::Reads => 1000,
            Habit::Leaves(events) | Habit::Pauses(events, _) => events,
        }
    }
}

fn sse(mut stream: EventStream) -> Source<'static> {
    Box::new(move || {
        // A kick may look like either.
        let event = stream.next().ok().flatten()?;
        let id = event.id.parse().expect("an id");
        Some(match event.kind.as_deref() {
            Some("$gap") => Item::Gap(id, serde_json::from_str(&event.data).expect("a gap")),
            _ => Item::Event(id, event.data),
        })
    })
}

fn json(mut lines: Lines) -> Source<'static> {
    Box::new(move || {
        let event: EventMessage = serde_json::from_value(lines.event()).expect("an event");
        Some(match event.topic.as_str() {
            "$gap" => Item::Gap(event.id.expect("a gap has an id"), serde_json::from_str(&event.data).expect("a gap")),
            _ => Item::Event(event.id.expect("an event of the log"), event.data),
        })
    })
}

fn library(daemon: &Daemon, subscribe: Subscribe) -> Source<'static> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let endpoint = daemon.endpoint();
    let subscribed = async { Client::connect(&endpoint).await?.subscribe(subscribe).await };
    let mut events = runtime.block_on(subscribed).expect("subscribed").reconnecting(Backoff::default());
    Box::new(move || {
        loop {
            let next = async { tokio::time::timeout(PATIENCE, events.next()).await.expect("nothing comes") };
            match runtime.block_on(next)?.expect("it reconnects by itself") {
                client::Item::Event(event) => {
                    return Some(Item::Event(event.id.expect("an event of the log"), event.data));
                }
                client::Item::Gap { gap, id, .. } => return Some(Item::Gap(id, gap)),
                _ => {}
            }
        }
    })
}
