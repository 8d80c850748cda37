//! The retained events of the log, in memory: the servers cannot list more than a thousand of them in one answer.
//!
//! They are read from their stream when the node starts, and kept up to date by the events that the log returns.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use parking_lot::Mutex;
use sse_bus::{
    Event, Topic,
    bus::{
        LogEvent,
        fetch::{Fetched, Wanted},
    },
    time::unix_now,
};

/// Bytes of the events of one read.
const READ_BYTES: usize = 256 << 10;

/// The retained event of each topic.
#[derive(Default)]
pub(super) struct RetainedEvents(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_topic: HashMap<Topic, u64>,
    by_seq: BTreeMap<u64, Kept>,
    bytes: usize,
}

struct Kept {
    event: Event,
    /// In milliseconds since 1970.
    expires: Option<u64>,
}

impl RetainedEvents {
    /// Notes an event of the log, if it is retained.
    pub(super) fn note(&self, returned: &LogEvent) {
        let LogEvent { event, retain, ttl } = returned;
        if !retain {
            return;
        }
        let mut table = self.0.lock();
        if table.by_topic.get(&event.topic).is_some_and(|known| *known >= event.id.seq) {
            return;
        }
        table.remove(&event.topic);
        let expires = ttl.map(|ttl| event.time.saturating_add(sse_bus::time::whole_millis(ttl)));
        if !event.data.is_empty() && expires.is_none_or(|end| end > unix_now()) {
            table.bytes += event.data.len();
            table.by_topic.insert(event.topic.clone(), event.id.seq);
            table.by_seq.insert(event.id.seq, Kept { event: event.clone(), expires });
        }
    }

    /// Forgets everything: the log has lost events.
    pub(super) fn clear(&self) {
        *self.0.lock() = Table::default();
    }

    /// Returns the bytes of all retained events.
    pub(super) fn bytes(&self) -> usize {
        self.0.lock().bytes
    }

    /// Returns true if a topic has a newer retained event.
    pub(super) fn is_newer(&self, topic: &Topic, seq: u64) -> bool {
        self.0.lock().by_topic.get(topic).is_some_and(|known| *known > seq)
    }

    /// Reads the retained events of a range.
    pub(super) fn read(&self, wanted: &Wanted) -> Fetched {
        let (now, mut bytes) = (unix_now(), 0);
        let mut fetched = Fetched { from: wanted.seq, upto: wanted.upto, ..Fetched::default() };
        let table = self.0.lock();
        for (seq, kept) in table.by_seq.range((Bound::Included(wanted.seq), Bound::Included(wanted.upto))) {
            if bytes > READ_BYTES {
                fetched.upto = seq - 1;
                break;
            }
            let is_live = kept.expires.is_none_or(|end| end > now);
            if is_live && wanted.filters.matches(&kept.event.topic) {
                bytes += kept.event.data.len();
                fetched.events.push(kept.event.clone());
            }
        }
        fetched
    }
}

impl Table {
    fn remove(&mut self, topic: &Topic) {
        if let Some(kept) = self.by_topic.remove(topic).and_then(|seq| self.by_seq.remove(&seq)) {
            self.bytes -= kept.event.data.len();
        }
    }
}
