//! The bounds of each topic, and which topics are to be looked at when.
//!
//! A topic has the bounds of the first [rule](crate::retention::TopicRule) that matches it, and the general ones for what
//! that does not name. Topics are never gone
//! through all at once: each is looked at when its oldest event may have become too old, and, after the bounds have
//! changed, in its turn. Until that comes its bounds are found by its name.

use std::{collections::BTreeSet, ops::Range};

use super::entry::TopicKey;
use crate::{retention::Retention, time::whole_millis, topic::Topic};

/// What of the age of events is in doubt: those that came up to a time may be younger than they seem. They are kept so much
/// longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubt {
    /// Times of the bus's clock, rising, each with what is in doubt for events that came up to it and after the one before;
    /// in milliseconds.
    pub steps: Vec<(u64, u64)>,
}

impl Doubt {
    /// How much longer an event is kept that came at a time.
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

    /// From when on an event that came at a time is too old.
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
    topics: Vec<Option<Bounded>>,
    /// When topics are to be looked at; each that has events stands here once. An event that is let go before its time
    /// changes nothing: its topic is looked at too early then, and put off.
    due: BTreeSet<(u64, TopicKey)>,
    /// Topics that were not looked at since the bounds have changed.
    changed: Range<TopicKey>,
}

/// A topic that is known.
#[derive(Debug)]
struct Bounded {
    name: Topic,
    bound: Bound,
    /// Its place among those that are due.
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

    /// Has other bounds from now on; all topics are to be looked at.
    pub(super) fn change(&mut self, retention: Retention) {
        self.general = Bound::general(&retention);
        self.retention = retention;
        self.changed = 0..self.topics.len();
    }

    /// Has the age of events in doubt from now on; all topics are to be looked at.
    pub(super) fn doubt(&mut self, doubt: Doubt) {
        self.doubt = doubt;
        self.changed = 0..self.topics.len();
    }

    /// From when on an event of a topic that came at a time is let go for its age.
    pub(super) fn end(&self, key: TopicKey, arrived_at: u64) -> u64 {
        self.of(key).end(arrived_at).saturating_add(self.doubt.of(arrived_at))
    }

    /// From when on a retained event that ends at a time makes room for others.
    pub(super) fn end_of_retained(&self, end: u64) -> u64 {
        end.saturating_add(self.doubt.of(0))
    }

    /// Takes up a topic.
    pub(super) fn add_topic(&mut self, key: TopicKey, name: &Topic) {
        if self.topics.len() <= key {
            self.topics.resize_with(key + 1, || None);
        }
        let bound = Bound::of(&self.retention, name);
        self.topics[key] = Some(Bounded { name: name.clone(), bound, due: None });
    }

    /// Forgets a topic.
    pub(super) fn remove_topic(&mut self, key: TopicKey) {
        self.set_due(key, None);
        if let Some(topic) = self.topics.get_mut(key) {
            *topic = None;
        }
    }

    /// A topic's name.
    pub(super) fn name(&self, key: TopicKey) -> Option<&Topic> {
        self.topics.get(key)?.as_ref().map(|topic| &topic.name)
    }

    /// The bounds of a topic.
    pub(super) fn of(&self, key: TopicKey) -> Bound {
        match self.topics.get(key) {
            Some(Some(topic)) if self.changed.contains(&key) => Bound::of(&self.retention, &topic.name),
            Some(Some(topic)) => topic.bound,
            _ => self.general,
        }
    }

    /// A topic to look at now. It stays due until it is [put off](Bounds::put_off).
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

    /// When a topic is to be looked at next.
    pub(super) fn next_due(&self) -> Option<u64> {
        if !self.changed.is_empty() {
            return Some(0);
        }
        self.due.first().map(|(due, _)| *due)
    }

    /// Has a topic looked at when its oldest event, which came then, has become too old.
    pub(super) fn put_off(&mut self, key: TopicKey, oldest: Option<u64>) {
        self.set_due(key, oldest.map(|arrived_at| self.end(key, arrived_at)));
    }

    /// Has a topic looked at in time if it is not to be already. It has an event that came then, and none before.
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
    /// `oldest` returns when the oldest event of a topic came.
    pub(super) fn self_check(&self, oldest: impl Fn(TopicKey) -> Option<u64>) {
        assert_eq!(self.general, Bound::general(&self.retention), "the general bounds");
        let mut all_due = BTreeSet::new();
        for (key, Bounded { name, bound, due }) in
            self.topics.iter().enumerate().filter_map(|(key, topic)| Some((key, topic.as_ref()?)))
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
