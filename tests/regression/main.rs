//! Regressions of the bus, each named after the correct behaviour; and limits, requests and batches, exactly.

mod batches;
mod bounds;
mod broadcasts;
mod consumer_admin;
mod consumer_holds;
mod consumer_steps;
mod consumer_workers;
mod consumers;
mod expiry;
mod feed_buffers;
mod gaps;
mod limits;
mod live;
mod positions;
mod reading;
mod request_steps;
mod requests;
mod rewrite;
mod scanning;
mod status;
mod steps;
mod timeouts;
mod window;

use std::task::Waker;

use sse_bus::{
    Epoch, FilterSet, Topic,
    bus::{Bus, ClientId, Format, Now, Publication, Read, ReaderId, Start, Subscription, history::Memory},
    limits::{DELIVER_MAX, Limits},
    protocol::{Slow, sse::PositionForm},
    retention::Retention,
};

fn bus(retention: Retention, limits: Limits) -> Bus {
    Bus::new(Epoch::parse("e").expect("legal"), limits, Box::new(Memory::new(retention)))
}

fn keeping(events: usize) -> Bus {
    bus(Retention { events, ..Retention::default() }, Limits::default())
}

fn at(ms: u64) -> Now {
    Now { mono: ms, unix: ms }
}

fn event(topic: &str, data: &str) -> Publication {
    let topic = Topic::parse(topic).expect("legal");
    Publication::new(topic, data)
}

fn publish(bus: &mut Bus, publication: Publication) -> u64 {
    bus.publish(publication, None, at(0)).expect("taken").id.expect("it is in the log").seq
}

/// Sends an event to one client, live.
fn send(bus: &mut Bus, publication: Publication) {
    let published = bus.publish(publication, None, at(0)).expect("taken");
    assert_eq!(published.id, None);
}

fn subscribe_at(bus: &mut Bus, filters: &[&str], start: Start, slow: Slow, now: Now) -> ClientId {
    let filters = FilterSet::parse(filters).expect("legal");
    let mut subscription = Subscription::new(filters, Format::SseData);
    // Only events and gaps are read here.
    (subscription.start, subscription.slow, subscription.position_form) = (start, slow, PositionForm::None);
    bus.subscribe(subscription, now).expect("taken").0
}

fn subscribe(bus: &mut Bus, filters: &[&str], start: Start) -> ClientId {
    subscribe_at(bus, filters, start, Slow::Gap, at(0))
}

fn after(seq: u64) -> Start {
    Start::After(format!("e-{seq}"))
}

/// One read: for each event its number, for each gap the number, the events it covers, and its range.
fn read(bus: &mut Bus, id: ClientId) -> Vec<String> {
    read_once(bus, id).0
}

/// The same, and whether there may be more.
fn read_once(bus: &mut Bus, id: ClientId) -> (Vec<String>, bool) {
    let mut out = Vec::new();
    let is_ready = bus.read(id, at(1000), Waker::noop(), &mut out) == Read::Ready;
    #[cfg(debug_assertions)]
    bus.self_check();
    let text = String::from_utf8(out.concat()).expect("text");
    let events = text.split_terminator("\n\n").map(|event| {
        let id = event.lines().find_map(|line| line.strip_prefix("id: e-")).unwrap_or_default();
        if !event.contains("event: $gap") {
            return id.to_owned();
        }
        let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
        let gap: sse_bus::protocol::Gap = serde_json::from_str(data).expect("a gap");
        format!("{id} gap {}..={} {:?}", gap.from.seq, gap.to.seq, gap.missed)
    });
    (events.collect(), is_ready)
}

fn drain(bus: &mut Bus, id: ClientId) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let (items, is_ready) = read_once(bus, id);
        all.extend(items);
        if !is_ready {
            return all;
        }
    }
}

/// The members of the shared cursors that a reader is called for, once all have been read.
fn read_shareds(bus: &mut Bus, reader: ReaderId) -> Vec<ClientId> {
    let (mut shared_cursors, mut members) = (Vec::new(), Vec::new());
    bus.called_cursors(reader, &mut shared_cursors);
    for shared in shared_cursors {
        while bus.read_shared(shared, &mut members, &mut Vec::new()) {}
    }
    members
}

/// Data of which a few events fill a read.
fn big() -> String {
    "x".repeat(DELIVER_MAX / 2 + 1)
}
