//! The bounds of each topic, and the schedule by which topics are examined.
//!
//! A topic has the bounds of the first [rule](crate::retention::TopicRule) that matches it, and the general bounds where the
//! rule has none. Topics are never all examined at once: each is examined when its oldest event may be too old and, after a
//! change of the bounds, in turn. Until its turn, its bounds are looked up by its name.

use std::{collections::BTreeSet, ops::Range};

use super::entry::TopicKey;
use crate::{retention::Retention, time::whole_millis, topic::Topic};

/// The uncertainty of the age of events: those that arrived up to a time may be younger than they seem, and are kept longer
/// by the difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubt {
    /// Rising times of the monotonic clock, each with the uncertainty for events that arrived up to it and after the time
    /// before, in milliseconds.
    pub steps: Vec<(u64, u64)>,
}

impl Doubt {
    /// Returns by how much longer to keep an event that arrived at a time.
    fn of(&self, arrived_at: u64) -> u64 {
        let step = self.steps.partition_point(|(until, _)| *until < arrived_at);
        self.steps.get(step).map_or(0, |(_, extra)| *extra)
    }
}

/// The bounds of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// In milliseconds.
    age: u64,
}

impl Bound {
    fn general(retention: &Retention) -> Bound {
        Bound { events: retention.events, bytes: retention.bytes, age: whole_millis(retention.age) }
    }

    fn of(retention: &Retention, name: &Topic) -> Bound {
        let general = Bound::general(retention);
        let rule = retention.rules.iter().find(|rule| rule.filters.matches(name));
        rule.map_or(general, |rule| Bound {
            events: rule.events.unwrap_or(general.events),
            bytes: rule.bytes.unwrap_or(general.bytes),
            age: rule.age.map_or(general.age, whole_millis),
        })
    }

    /// Returns the time from which on an event that arrived at a time is too old.
    pub(super) fn end(&self, arrived_at: u64) -> u64 {
        arrived_at.saturating_add(self.age).saturating_add(1)
    }
}

/// The bounds of all topics.
#[derive(Debug)]
pub(super) struct Bounds {
    retention: Retention,
    general: Bound,
    doubt: Doubt,
    /// Boxed, so that the table grows quickly.
    topics: Vec<Option<Box<Bounded>>>,
    /// The times at which topics are examined; each topic with events is in it once. The eviction of an event by another
    /// bound changes nothing here: the topic is examined too early then, and put off.
    due: BTreeSet<(u64, TopicKey)>,
    /// Topics that were not examined since the bounds have changed.
    changed: Range<TopicKey>,
}

/// A topic with its bounds.
#[derive(Debug)]
struct Bounded {
    name: Topic,
    bound: Bound,
    /// When it is examined next.
    due: Option<u64>,
}

impl Bounds {
    pub(super) fn new(retention: Retention) -> Bounds {
        let general = Bound::general(&retention);
        Bounds { retention, general, doubt: Doubt::default(), topics: Vec::new(), due: BTreeSet::new(), changed: 0..0 }
    }

    pub(super) fn retention(&self) -> &Retention {
        &self.retention
    }

    /// Changes the bounds, and schedules all topics to be examined.
    pub(super) fn change(&mut self, retention: Retention) {
        self.general = Bound::general(&retention);
        self.retention = retention;
        self.changed = 0..self.topics.len();
    }

    /// Sets the uncertainty of the age of events, and schedules all topics to be examined.
    pub(super) fn doubt(&mut self, doubt: Doubt) {
        self.doubt = doubt;
        self.changed = 0..self.topics.len();
    }

    /// Returns the time from which on an event of a topic that arrived at a time is evicted for its age.
    pub(super) fn end(&self, key: TopicKey, arrived_at: u64) -> u64 {
        self.of(key).end(arrived_at).saturating_add(self.doubt.of(arrived_at))
    }

    /// Returns the time from which on an event that expires at a time may be removed for its TTL.
    pub(super) fn end_of_ttl(&self, end: u64) -> u64 {
        end.saturating_add(self.doubt.of(0))
    }

    /// Adds a topic.
    pub(super) fn add_topic(&mut self, key: TopicKey, name: &Topic) {
        if self.topics.len() <= key {
            self.topics.resize_with(key + 1, || None);
        }
        let bound = Bound::of(&self.retention, name);
        self.topics[key] = Some(Box::new(Bounded { name: name.clone(), bound, due: None }));
    }

    /// Removes a topic.
    pub(super) fn remove_topic(&mut self, key: TopicKey) {
        self.set_due(key, None);
        if let Some(topic) = self.topics.get_mut(key) {
            *topic = None;
        }
    }

    /// Returns a topic's name.
    pub(super) fn name(&self, key: TopicKey) -> Option<&Topic> {
        self.topics.get(key)?.as_ref().map(|topic| &topic.name)
    }

    /// Returns the bounds of a topic.
    pub(super) fn of(&self, key: TopicKey) -> Bound {
        match self.topics.get(key) {
            Some(Some(topic)) if self.changed.contains(&key) => Bound::of(&self.retention, &topic.name),
            Some(Some(topic)) => topic.bound,
            _ => self.general,
        }
    }

    /// Returns a topic to examine now. It stays due until it is [put off](Bounds::put_off).
    pub(super) fn next(&mut self, now: u64) -> Option<TopicKey> {
        if let Some(key) = self.changed.next() {
            if let Some(Some(topic)) = self.topics.get_mut(key) {
                topic.bound = Bound::of(&self.retention, &topic.name);
            }
            self.set_due(key, Some(0));
            return Some(key);
        }
        self.due.first().filter(|(due, _)| *due <= now).map(|(_, key)| *key)
    }

    /// Returns the time at which a topic must be examined next.
    pub(super) fn next_due(&self) -> Option<u64> {
        if !self.changed.is_empty() {
            return Some(0);
        }
        self.due.first().map(|(due, _)| *due)
    }

    /// Schedules a topic for the time at which its oldest event, which arrived at `oldest`, is too old.
    pub(super) fn put_off(&mut self, key: TopicKey, oldest: Option<u64>) {
        self.set_due(key, oldest.map(|arrived_at| self.end(key, arrived_at)));
    }

    /// Schedules a topic, if it is not scheduled yet, whose first event arrived at a time.
    pub(super) fn watch(&mut self, key: TopicKey, arrived_at: u64) {
        if self.topics.get(key).is_some_and(|topic| topic.as_ref().is_some_and(|topic| topic.due.is_none())) {
            self.put_off(key, Some(arrived_at));
        }
    }

    fn set_due(&mut self, key: TopicKey, due: Option<u64>) {
        let Some(Some(topic)) = self.topics.get_mut(key) else { return };
        let before = std::mem::replace(&mut topic.due, due);
        if before != due {
            before.map(|before| self.due.remove(&(before, key)));
            self.due.extend(due.map(|due| (due, key)));
        }
    }
}

#[cfg(debug_assertions)]
impl Bounds {
    /// `oldest` returns when the oldest event of a topic arrived.
    pub(super) fn self_check(&self, oldest: impl Fn(TopicKey) -> Option<u64>) {
        assert_eq!(self.general, Bound::general(&self.retention), "the general bounds");
        let mut all_due = BTreeSet::new();
        for (key, Bounded { name, bound, due }) in
            self.topics.iter().enumerate().filter_map(|(key, topic)| Some((key, topic.as_deref()?)))
        {
            all_due.extend(due.map(|due| (due, key)));
            let oldest = oldest(key);
            assert!(oldest.is_none() || due.is_some(), "the topic {name} has events, and is not looked at");
            if !self.changed.contains(&key) {
                assert_eq!(*bound, Bound::of(&self.retention, name), "the bounds of the topic {name}");
                let end = oldest.map_or(u64::MAX, |arrived_at| self.end(key, arrived_at));
                assert!(due.is_none_or(|due| due <= end), "the topic {name} is looked at at {due:?}, after {end}");
            }
        }
        assert_eq!(self.due, all_due, "topics by when they are looked at");
    }
}
