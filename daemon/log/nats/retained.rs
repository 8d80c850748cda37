//! The retained events of the log, in memory: the servers cannot list more than a thousand of them in one answer.
//!
//! They are read from their stream when the node starts, and kept up to date by the events that the log returns.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
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
    /// Those that expire, by time.
    expiring: BTreeSet<(u64, u64)>,
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
            table.expiring.extend(expires.map(|end| (end, event.id.seq)));
            table.by_topic.insert(event.topic.clone(), event.id.seq);
            table.by_seq.insert(event.id.seq, Kept { event: event.clone(), expires });
        }
    }

    /// Forgets everything: the log has lost events.
    pub(super) fn clear(&self) {
        *self.0.lock() = Table::default();
    }

    /// Returns true if an event of a topic with this number of bytes fits a bound, in place of the one that the topic has.
    pub(super) fn has_room(&self, topic: &Topic, bytes: usize, most: usize) -> bool {
        let mut table = self.0.lock();
        table.expire(unix_now());
        let replaced = table.by_topic.get(topic).and_then(|seq| table.by_seq.get(seq));
        let replaced = replaced.map_or(0, |kept| kept.event.data.len());
        table.bytes - replaced + bytes <= most
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
            if let Some(end) = kept.expires {
                self.expiring.remove(&(end, kept.event.id.seq));
            }
        }
    }

    /// Removes the events that have expired.
    fn expire(&mut self, now: u64) {
        while let Some((_, seq)) = self.expiring.first().copied().filter(|(end, _)| *end <= now) {
            self.expiring.pop_first();
            if let Some(kept) = self.by_seq.remove(&seq) {
                self.bytes -= kept.event.data.len();
                self.by_topic.remove(&kept.event.topic);
            }
        }
    }
}
