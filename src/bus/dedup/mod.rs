//! Recognizes repeated publishes, so that a client that lost its connection can resend what has no reply.
//!
//! A publish with a [`DedupId`] that repeats one of the last [`DEDUP_TIME`], on the same topic, is a duplicate. At most
//! [`DEDUP_IDS_MAX`] ids are kept; at the limit the oldest is forgotten. Ids belong to a topic, so that a caller cannot suppress
//! a publish to a topic that it may not publish to.
//!
//! A numbered publish is a duplicate if its publisher has published this number before. For each publisher there is one entry: the
//! last number, and ranges of earlier numbers that were not published because they were refused. At most [`PUBLISHERS_MAX`]
//! publishers are kept; at the limit the one that has not published for the longest time is forgotten. A publish of a
//! forgotten publisher is no duplicate, so nothing is lost.
//!
//! With history on disk both are written in the transaction of the events that they belong to, so that a repeat is also
//! recognized after a crash: what is on disk has its number there.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::{
    limits::{DEDUP_ID_MAX, DEDUP_IDS_MAX, DEDUP_TIME, GAPS_MAX, PUBLISHERS_MAX},
    protocol::{ErrorCode, PublisherId, Refused, Sequence},
    time::whole_millis,
    topic::Topic,
};

/// A name for a publish: 1 to [`DEDUP_ID_MAX`] bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupId(Box<str>);

impl DedupId {
    /// Parses an id.
    ///
    /// # Errors
    ///
    /// It is empty, too long, or contains control characters.
    pub fn parse(text: &str) -> Result<DedupId, Refused> {
        if (1..=DEDUP_ID_MAX).contains(&text.len()) && !text.contains(char::is_control) {
            return Ok(DedupId(text.into()));
        }
        let message = format!("`dedup_id` cannot be used: write 1 to {DEDUP_ID_MAX} bytes without control characters");
        Err(Refused::new(ErrorCode::RequestInvalid, message))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What identifies a publish, to recognize its repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DedupKeys {
    /// The topic, the receiver and the id, as one text.
    id: Option<Box<str>>,
    sequence: Option<Sequence>,
}

impl DedupKeys {
    /// Returns the keys of a publish to a topic, and to the clients or the consumer with a name.
    pub(super) fn new(topic: &Topic, to: Option<&str>, id: Option<&DedupId>, sequence: Option<Sequence>) -> DedupKeys {
        // Neither a topic nor an id contains a line break.
        let id = id.map(|id| format!("{topic}\n{}\n{}", to.unwrap_or_default(), id.0).into());
        DedupKeys { id, sequence }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.id.is_none() && self.sequence.is_none()
    }
}

/// A publisher, as written to disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherRecord {
    /// Its name.
    pub publisher: PublisherId,
    /// Its last number.
    pub last: u64,
    /// The event with that number; None if it was for one client.
    pub seq: Option<u64>,
    /// Ranges of earlier numbers that were not published, each with its first and its last.
    pub gaps: Vec<(u64, u64)>,
    /// When it published that number, in milliseconds of the bus's clock.
    pub used: u64,
}

/// The id of a publish, as written to disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedupRecord {
    /// The number of its event.
    pub seq: u64,
    /// The topic, the receiver and the id.
    pub id: Box<str>,
    /// When it was published, in milliseconds of the bus's clock.
    pub at: u64,
}

/// What has changed since it was last written to disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DedupChanges {
    /// Publishers that are new or have changed.
    pub publishers: Vec<PublisherRecord>,
    /// Forgotten publishers.
    pub forgotten: Vec<PublisherId>,
    /// New ids.
    pub ids: Vec<DedupRecord>,
    /// The ids of events before this one are forgotten.
    pub ids_from: u64,
}

#[derive(Debug)]
struct Publisher {
    last: u64,
    seq: Option<u64>,
    gaps: Vec<(u64, u64)>,
    used: u64,
}

impl Publisher {
    fn has_published(&self, number: u64) -> bool {
        number <= self.last && !self.gaps.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    fn note(&mut self, number: u64, seq: Option<u64>, now: u64) {
        self.used = now;
        if number > self.last {
            if number > self.last + 1 {
                self.gaps.push((self.last + 1, number - 1));
            }
            (self.last, self.seq) = (number, seq);
            if self.gaps.len() > GAPS_MAX {
                // The numbers between two gaps count as not published: a repeat of them is published again, and nothing is lost.
                let (first, _) = self.gaps.remove(0);
                self.gaps[0].0 = first;
            }
            return;
        }
        let Some(index) = self.gaps.iter().position(|(first, last)| (*first..=*last).contains(&number)) else { return };
        let (first, last) = self.gaps.remove(index);
        let parts = [(first, number - 1), (number + 1, last)];
        self.gaps.splice(index..index, parts.into_iter().filter(|(first, last)| first <= last));
    }
}

/// The publish that a duplicate repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    /// Its event. None if it was for one client, or only its number is known.
    pub(super) seq: Option<u64>,
}

/// The id of an earlier publish.
#[derive(Debug)]
struct Kept {
    at: u64,
    seq: Option<u64>,
    id: Arc<str>,
}

/// The publishes that a repeat is compared with.
#[derive(Debug, Default)]
pub(super) struct Dedup {
    /// The event of each id, None for one that was for one client.
    ids: FxHashMap<Arc<str>, Option<u64>>,
    /// The same, oldest first.
    order: VecDeque<Kept>,
    publishers: FxHashMap<PublisherId, Publisher>,
    /// Publishers that have changed since the last write.
    changed: BTreeSet<PublisherId>,
    forgotten: BTreeSet<PublisherId>,
    /// The number of the newest ids that are not written.
    unwritten: usize,
}

impl Dedup {
    /// Returns the publish that one with these keys repeats, if it is a duplicate.
    pub(super) fn find(&mut self, keys: &DedupKeys, now: u64) -> Option<First> {
        if keys.is_empty() {
            return None;
        }
        if let Some(Sequence { publisher, number }) = keys.sequence
            && let Some(known) = self.publishers.get(&publisher)
            && known.has_published(number)
        {
            return Some(First { seq: known.seq.filter(|_| known.last == number) });
        }
        self.expire(now);
        self.ids.get(keys.id.as_deref()?).map(|seq| First { seq: *seq })
    }

    /// Records a publish. `seq` is the number of its event, None if it was for one client. `is_tracked` is true if history is on
    /// disk.
    pub(super) fn note(&mut self, keys: DedupKeys, seq: Option<u64>, now: u64, is_tracked: bool) {
        if let Some(Sequence { publisher, number }) = keys.sequence {
            if !self.publishers.contains_key(&publisher) {
                self.make_room(is_tracked);
            }
            let new = || Publisher { last: 0, seq: None, gaps: Vec::new(), used: now };
            self.publishers.entry(publisher).or_insert_with(new).note(number, seq, now);
            if is_tracked && self.changed.last() != Some(&publisher) {
                self.changed.insert(publisher);
            }
        }
        if let Some(id) = keys.id {
            self.expire(now);
            let id: Arc<str> = id.into();
            self.ids.insert(id.clone(), seq);
            self.order.push_back(Kept { at: now, seq, id });
            self.unwritten += 1;
            while self.order.len() > DEDUP_IDS_MAX {
                self.forget_oldest();
            }
        }
    }

    /// Forgets the ids that are too old.
    fn expire(&mut self, now: u64) {
        let kept = whole_millis(DEDUP_TIME);
        while self.order.front().is_some_and(|oldest| oldest.at.saturating_add(kept) <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.order.pop_front() {
            self.ids.remove(&oldest.id);
            self.unwritten = self.unwritten.min(self.order.len());
        }
    }

    /// Makes room for another publisher.
    fn make_room(&mut self, is_tracked: bool) {
        if self.publishers.len() < PUBLISHERS_MAX {
            return;
        }
        let oldest = self.publishers.iter().min_by_key(|(id, publisher)| (publisher.used, **id)).map(|(id, _)| *id);
        if let Some(id) = oldest {
            self.publishers.remove(&id);
            self.changed.remove(&id);
            // While the disk fails this may be too many to name. A start then drops the others.
            if is_tracked && self.forgotten.len() < PUBLISHERS_MAX {
                self.forgotten.insert(id);
            }
        }
    }

    /// Takes what has changed, to be written with the events up to `head`.
    pub(super) fn take_changes(&mut self, head: u64) -> DedupChanges {
        let record = |id: PublisherId| {
            let Publisher { last, seq, gaps, used } = self.publishers.get(&id)?;
            Some(PublisherRecord { publisher: id, last: *last, seq: *seq, gaps: gaps.clone(), used: *used })
        };
        let publishers: Vec<_> = std::mem::take(&mut self.changed).into_iter().filter_map(record).collect();
        let written: BTreeSet<_> = publishers.iter().map(|record| record.publisher).collect();
        // A publisher may have published again since it was forgotten.
        let forgotten = std::mem::take(&mut self.forgotten).into_iter().filter(|id| !written.contains(id)).collect();
        let unwritten = self.order.range(self.order.len() - std::mem::take(&mut self.unwritten)..);
        let ids =
            unwritten.filter_map(|kept| Some(DedupRecord { seq: kept.seq?, id: (&*kept.id).into(), at: kept.at }));
        let ids_from = self.order.iter().find_map(|kept| kept.seq).unwrap_or(head + 1);
        DedupChanges { publishers, forgotten, ids: ids.collect(), ids_from }
    }

    /// Restores what was written to disk. The ids are in the order of their events.
    pub(super) fn restore(&mut self, mut publishers: Vec<PublisherRecord>, ids: Vec<DedupRecord>) {
        publishers.sort_unstable_by_key(|record| std::cmp::Reverse((record.used, record.publisher)));
        self.forgotten.extend(publishers.iter().skip(PUBLISHERS_MAX).map(|record| record.publisher));
        publishers.truncate(PUBLISHERS_MAX);
        for PublisherRecord { publisher, last, seq, gaps, used } in publishers {
            self.publishers.insert(publisher, Publisher { last, seq, gaps, used });
        }
        for DedupRecord { seq, id, at } in ids {
            let id: Arc<str> = id.into();
            self.ids.insert(id.clone(), Some(seq));
            self.order.push_back(Kept { at, seq: Some(seq), id });
        }
    }
}

#[cfg(debug_assertions)]
impl Dedup {
    pub(super) fn self_check(&self) {
        assert!(self.order.len() <= DEDUP_IDS_MAX && self.publishers.len() <= PUBLISHERS_MAX, "bounds of repeats");
        assert_eq!(self.ids.len(), self.order.len(), "ids of publishes");
        for Kept { seq, id, .. } in &self.order {
            assert_eq!(self.ids.get(id), Some(seq), "the event of the id {id:?}");
        }
        assert!(self.unwritten <= self.order.len(), "ids to write");
        for (id, publisher) in &self.publishers {
            let gaps = &publisher.gaps;
            assert!(gaps.len() <= GAPS_MAX && gaps.is_sorted_by(|a, b| a.1 + 1 < b.0), "gaps of {id}: {gaps:?}");
            assert!(gaps.iter().all(|(first, last)| 0 < *first && first <= last && *last < publisher.last), "{gaps:?}");
        }
        assert!(self.changed.iter().all(|id| self.publishers.contains_key(id)), "publishers to write");
    }
}
