//! The bus, the model beside it, and the operations on both.

mod bounds;
mod clients;
mod disk;
mod publish;
mod read;
mod restart;
mod shared_cursors;
mod window;

use sse_bus::{
    Epoch, Headers,
    bus::{
        Bus, Framing, Now,
        history::{Memory, Window},
    },
    limits::DELIVER_MAX,
};

use self::{bounds::Bounds, disk::Disk, shared_cursors::Reader, window::Whole};
use super::{
    log::Log,
    ops::{Index, NAMES, Op, READERS, Retain, Setup, Size, TOPICS},
    subscriber::Subscriber,
    subscription::Asked,
};

const EPOCH: &str = "e";

pub struct World {
    setup: Setup,
    bus: Bus,
    log: Log,
    subscribers: Vec<Subscriber>,
    readers: [Reader; READERS],
    disk: Disk,
    /// The whole log, if the bus has a window of it.
    whole: Option<Whole>,
    bounds: Bounds,
    /// The head when this bus began, after a restart.
    began: u64,
    /// Bytes that clients have read from this bus.
    bytes_read: u64,
    /// The number of feeds that have lost their last subscriber.
    feeds_closed: usize,
    /// The operations so far, with their outcomes.
    pub steps: Vec<String>,
}

type Outcome = Result<(), String>;

/// An empty bus, and its readers.
fn start(setup: &Setup) -> (Bus, [Reader; READERS]) {
    let epoch = Epoch::parse(EPOCH).expect("a legal epoch");
    let retention = setup.retention.clone();
    let history = match (setup.on_disk, setup.window) {
        (Some(keep), _) => Memory::persistent(retention, keep),
        (None, None) => Memory::new(retention),
        (None, Some(events)) => Memory::window(retention, Window { events, bytes: usize::MAX }, 0),
    };
    let mut bus = Bus::new(epoch, setup.limits.clone(), Box::new(history));
    let readers = [Framing::Chunked, Framing::Plain].map(|framing| Reader::new(&mut bus, framing));
    (bus, readers)
}

impl World {
    pub fn new(setup: &Setup) -> World {
        let (bus, readers) = start(setup);
        let whole = Whole::new(setup);
        World {
            setup: setup.clone(),
            log: Log::new(bus.position().epoch, whole.is_some()),
            whole,
            bus,
            subscribers: Vec::new(),
            readers,
            disk: Disk::default(),
            bounds: Bounds::default(),
            began: 0,
            bytes_read: 0,
            feeds_closed: 0,
            steps: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.log.now, unix: 1_700_000_000_000 + self.log.now }
    }

    pub fn step(&mut self, op: &Op, continues_batch: bool) -> Outcome {
        self.steps.push(format!("{op:?}"));
        match op {
            Op::Publish { topic, size, retain, ttl_ms } => {
                self.publish(TOPICS[*topic], self.data(*size), *retain, *ttl_ms)?;
                self.refresh()?;
            }
            Op::PublishToMany => {
                for i in 0..40 {
                    self.publish(&format!("m/{i}"), "x".into(), Retain::No, None)?;
                }
                self.refresh()?;
            }
            Op::Burst { topic, events, size } => {
                for _ in 0..*events {
                    self.publish(TOPICS[*topic], self.data(*size), Retain::No, None)?;
                }
                self.refresh()?;
            }
            Op::Unicast { to, size } => self.unicast(to, *size)?,
            Op::Subscribe { feed, since, slow, name, past_only, reader } => {
                let (filters, format) = *feed.get(&self.setup.feeds);
                let (slow, past_only, reader) = (*slow, *past_only, *reader);
                let name = name.map(|name| NAMES[name].to_owned());
                self.subscribe(since, Asked { filters, format, slow, name, past_only, reader })?;
            }
            Op::Crowd { feed, many, slow, reader } => {
                let (filters, format) = *feed.get(&self.setup.feeds);
                let (slow, reader) = (*slow, Some(*reader));
                self.crowd(&Asked { filters, format, slow, name: None, past_only: false, reader }, *many)?;
            }
            Op::Read { who } => {
                if let Some(who) = self.pick(*who) {
                    self.read(who)?;
                }
            }
            Op::Drain { who } => {
                if let Some(who) = self.pick(*who) {
                    self.drain(who)?;
                }
            }
            Op::DrainAll => self.drain_all()?,
            Op::ReadShared { reader, shared } => self.read_one_shared(*reader, *shared)?,
            Op::DrainGroups { reader } => self.drain_groups(*reader)?,
            Op::LeaveSharedCursor { who } => {
                if let Some(who) = self.pick(*who) {
                    self.leave_shared_cursor(who)?;
                }
            }
            Op::Resume { who, from } => self.resume(*who, |ids| from.get(ids).clone())?,
            Op::ResumeLast { who } => self.resume(*who, |ids| ids[ids.len() - 1].clone())?,
            Op::Disconnect { who } => {
                if let Some(who) = self.pick(*who) {
                    self.disconnect(who)?;
                }
            }
            Op::Kick { to } => self.kick(to)?,
            Op::Pass { ms } => self.log.now += ms,
            Op::Tick => {
                self.tick();
                self.refresh()?;
            }
            Op::Configure(retention) => self.configure(retention)?,
            Op::Heartbeats => self.heartbeats()?,
            Op::Restart => self.restart()?,
        }
        self.self_check();
        if continues_batch {
            // Other calls of the bus may come between the steps of its work.
            if self.steps.len().is_multiple_of(2) {
                self.bus.finish_some();
                self.bus.take_wakes().wake();
                self.self_check();
            }
            return Ok(());
        }
        self.finish()
    }

    /// Checks the bus's own counters; release builds have no such check.
    fn self_check(&self) {
        #[cfg(debug_assertions)]
        self.bus.self_check();
    }

    /// At the end, every connected subscriber reads everything.
    pub fn end(&mut self) -> Outcome {
        self.finish()?;
        self.steps.push("the end: the readers drain their shared cursors".into());
        for reader in 0..READERS {
            self.drain_groups(reader)?;
        }
        // Without a wake-up a subscriber is up to date: no shared cursor is due.
        self.finish()?;
        self.steps.push("the end: all drain".into());
        // Disconnects are published on the bus, so that others have something to read again.
        loop {
            let live = self.log.live.len();
            self.drain_all()?;
            if self.log.live.len() == live {
                break;
            }
        }
        // A subscriber that had read more than its shared cursor waits alone until its next read.
        self.drain_all()?;
        let gaps: u64 = self.subscribers.iter().map(Subscriber::gaps_received).sum();
        let stats = self.bus.stats();
        if stats.gaps.iter().sum::<u64>() != gaps {
            return Err(format!("expected {gaps} gaps in {stats:?}"));
        }
        self.check_who_is_on_shared_cursor()?;
        self.finish()
    }

    fn tick(&mut self) {
        self.log.now = (self.log.now / 1000 + 1) * 1000;
        if self.whole.is_none() {
            self.will_remove_expired();
        }
        self.bus.tick(self.now());
        if self.whole.is_none() {
            self.removed_expired();
        }
        self.looked();
        self.wake();
    }

    fn wake(&mut self) {
        self.bus.finish().wake();
    }

    fn data(&self, size: Size) -> String {
        match size {
            Size::Small => format!("#{}", self.log.head()),
            Size::Lines => "one\rtwo\r\nthree\n\n: four\r".into(),
            Size::Big => "x".repeat(DELIVER_MAX * 2 / 3),
        }
    }

    /// The headers of the next event: every third has some.
    fn headers(&self) -> Headers {
        let head = self.log.head();
        let headers = [("key", head.to_string()), ("long", "é".repeat(head as usize % 50))];
        Headers::parse(headers.into_iter().take((head % 3) as usize)).expect("legal")
    }

    fn pick(&self, who: Index) -> Option<usize> {
        let connected: Vec<usize> = (0..self.subscribers.len()).filter(|i| self.subscribers[*i].connected).collect();
        (!connected.is_empty()).then(|| *who.get(&connected))
    }

    /// Ends a batch: a waiting subscriber with something to read must have been woken.
    fn finish(&mut self) -> Outcome {
        self.wake();
        self.write();
        self.self_check();
        if self.bus.position().to_string() != self.log.id(self.log.head()) {
            return Err(format!("expected the head {}, saw {}", self.log.head(), self.bus.position()));
        }
        for subscriber in self.subscribers.iter().filter(|s| s.connected) {
            let Some(count) = subscriber.waiting.filter(|count| *count == subscriber.wake_count()) else { continue };
            // Broadcast events may be left to its reader, if its shared cursor is due.
            let is_read_for = self.is_read_for(subscriber);
            let news = |seq: &u64| {
                let is_news = self.log.wants(subscriber.asked.filters, *seq) && !is_read_for;
                is_news && !subscriber.delivered.contains(seq)
            };
            if let Some(seq) = (subscriber.drained_at + 1..=self.log.head()).find(news) {
                return Err(format!("expected {} to be woken for {seq}, saw {count} wakes", subscriber.id));
            }
            let [own, about_clients] = subscriber.inbox.owed(&self.log);
            if own > 0 || (about_clients > 0 && !is_read_for) {
                return Err(format!("expected {} to be woken for live events, saw {count} wakes", subscriber.id));
            }
        }
        self.check_counters()
    }

    /// Checks the bus's counters of deliveries and of what waits.
    fn check_counters(&self) -> Outcome {
        if self.bus.limits() != &self.setup.limits {
            return Err(format!("expected the limits of the setup, saw {:?}", self.bus.limits()));
        }
        let stats = self.bus.stats();
        let delivered: u64 = self.subscribers.iter().map(Subscriber::received).sum();
        let published = self.log.head() - self.began;
        if stats.delivered != delivered || stats.published != published {
            return Err(format!("expected {delivered} delivered, {published} published in {stats:?}"));
        }
        if stats.delivered_bytes != self.bytes_read {
            return Err(format!("expected {} bytes delivered in {stats:?}", self.bytes_read));
        }
        // More than is ever encoded: then no feed has dropped anything.
        let encoded = 2 * stats.published_bytes + 600 * stats.published + 1500 * self.log.live.len() as u64;
        let is_exact = encoded < self.setup.limits.feed_buffer.min(self.setup.limits.feeds_buffer) as u64;
        let connected: Vec<&Subscriber> = self.subscribers.iter().filter(|s| s.connected).collect();
        let clients = self.bus.clients();
        if clients.len() != connected.len() {
            return Err(format!("expected {} clients, saw {clients:?}", connected.len()));
        }
        // Both are in order of connection.
        for (info, subscriber) in clients.into_iter().zip(connected) {
            if info.id != subscriber.id.to_string() {
                return Err(format!("expected {}, saw {info:?}", subscriber.id));
            }
            let (delivered, behind) = (subscriber.received(), subscriber.behind(&self.log));
            let least = if is_exact && subscriber.waiting.is_some() { behind } else { 0 };
            if info.gaps != subscriber.gaps_received() {
                return Err(format!("expected {} gaps in {info:?}", subscriber.gaps_received()));
            }
            if info.events != delivered || info.lag < least || info.lag > behind {
                return Err(format!("expected {delivered} events and a lag of {least} to {behind} in {info:?}"));
            }
        }
        Ok(())
    }

    /// Reads which events the bus still has, which must be within the bounds. Called after a publish, or after time has
    /// passed.
    fn refresh(&mut self) -> Outcome {
        let topics = self.log_bus().topics(self.now());
        for info in &topics {
            let seq = self.log.retained.get(&info.topic);
            if info.retained != seq.is_some_and(|seq| !self.log.has_expired(*seq)) {
                return Err(format!("the retained event is {seq:?}, which may have expired, but {info:?}"));
            }
        }
        self.check_bounds(&topics)?;
        self.log.refresh(&topics);
        Ok(())
    }

    fn note(&mut self, text: &str) {
        self.steps.push(format!("  {text}"));
    }
}
