//! The topics of the bus, and the filters of all feeds.
//!
//! The names of topics are stored in order, and filters as a tree of their levels ([`Index`]). The feeds that match a topic
//! are searched when an event is published to it, and the topics of a feed when a cursor reads history. Nothing is stored for
//! each pair of a topic and a feed, so the cost of a subscriber with new filters does not depend on the number of topics.
//! There are at most [`Limits::topics`](crate::limits::Limits::topics); at the limit, a topic without history and retained
//! event is removed to make room. The cost of filters is bounded by
//! [`Limits::filters_bytes`](crate::limits::Limits::filters_bytes).

use std::{collections::BTreeMap, ops::Bound};

use super::{
    filter_index::Index,
    history::{Selection, TopicKey},
    ids::FeedKey,
    split_map::SplitMap,
};
use crate::{
    limits::FEW_TOPICS,
    topic::{Filter, FilterSet, Topic},
};

/// A topic.
#[derive(Debug)]
pub(super) struct TopicState {
    pub(super) name: Topic,
    /// Events published since the topic was added.
    pub(super) published: u64,
    /// The newest event: its sequence number and when it arrived, in milliseconds since 1970.
    pub(super) last: Option<(u64, u64)>,
}

/// All topics.
#[derive(Debug, Default)]
pub(super) struct Topics {
    /// Boxed, as feeds are: the table grows quickly.
    states: Vec<Option<Box<TopicState>>>,
    free: Vec<TopicKey>,
    by_name: SplitMap<Topic, TopicKey>,
    in_order: BTreeMap<Topic, TopicKey>,
    index: Index,
    /// The cost of the filters of all feeds, see [`Topics::cost_of`].
    cost: usize,
    /// Where the search for an idle topic continues.
    hand: TopicKey,
}

impl Topics {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn find(&self, name: &str) -> Option<TopicKey> {
        self.by_name.get(name).copied()
    }

    pub(super) fn get(&self, key: TopicKey) -> Option<&TopicState> {
        self.states.get(key)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, key: TopicKey) -> Option<&mut TopicState> {
        self.states.get_mut(key)?.as_deref_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TopicKey, &TopicState)> {
        self.states.iter().enumerate().filter_map(|(key, state)| Some((key, state.as_deref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (TopicKey, &mut TopicState)> {
        self.states.iter_mut().enumerate().filter_map(|(key, state)| Some((key, state.as_deref_mut()?)))
    }

    /// Returns the key after the last one in use.
    pub(super) fn keys_end(&self) -> TopicKey {
        self.states.len()
    }

    /// Returns the topics after a name, in order.
    pub(super) fn after(&self, name: Option<&str>) -> impl Iterator<Item = (TopicKey, &TopicState)> {
        let start = name.map_or(Bound::Unbounded, Bound::Excluded);
        let topics = self.in_order.range::<str, _>((start, Bound::Unbounded));
        topics.filter_map(|(_, key)| Some((*key, self.get(*key)?)))
    }

    /// Examines a bounded number of further topics for one that holds nothing.
    pub(super) fn next_idle(&mut self, holds_nothing: impl Fn(TopicKey) -> bool) -> Option<TopicKey> {
        const LOOK_AT: usize = 256;
        for _ in 0..LOOK_AT.min(self.states.len()) {
            self.hand = (self.hand + 1) % self.states.len();
            if self.states[self.hand].is_some() && holds_nothing(self.hand) {
                return Some(self.hand);
            }
        }
        None
    }

    /// Replaces the content of `found` by the feeds whose filters match a topic, without duplicates.
    pub(super) fn wanted_by(&self, name: &Topic, found: &mut Vec<FeedKey>) {
        self.index.matching_feeds(name, found);
    }

    /// Adds a topic.
    pub(super) fn insert(&mut self, name: Topic) -> TopicKey {
        let key = self.free.pop().unwrap_or_else(|| {
            self.states.push(None);
            self.states.len() - 1
        });
        self.by_name.insert(name.clone(), key);
        self.in_order.insert(name.clone(), key);
        self.states[key] = Some(Box::new(TopicState { name, published: 0, last: None }));
        key
    }

    /// Removes a topic.
    pub(super) fn remove(&mut self, key: TopicKey) {
        let Some(state) = self.states.get_mut(key).and_then(Option::take) else { return };
        self.by_name.remove(&state.name);
        self.in_order.remove(&state.name);
        self.free.push(key);
    }

    /// Returns the topics that match filters: their keys, if they are few and quickly found, or else the filters to test each
    /// topic with.
    pub(super) fn select(&self, filters: &FilterSet) -> Selection {
        /// The number of names that are tested in the search.
        const LOOK_AT: usize = 128;
        let (mut few, mut looked_at) = (Vec::new(), 0);
        for filter in filters.iter() {
            let mut add = |key: TopicKey| {
                if !few.contains(&key) {
                    few.push(key);
                }
                few.len() <= FEW_TOPICS
            };
            let are_few = match filter.as_topic() {
                Some(name) => self.find(name).is_none_or(add),
                None => self.candidates(filter.as_str()).all(|(name, key)| {
                    looked_at += 1;
                    looked_at <= LOOK_AT && (!filter.matches(name) || add(*key))
                }),
            };
            if !are_few {
                return Selection::Matching(filters.clone());
            }
        }
        Selection::Few(few)
    }

    /// Returns the topics that a pattern may match: those that begin with its text before the first wildcard.
    fn candidates<'a>(&'a self, pattern: &'a str) -> impl Iterator<Item = (&'a Topic, &'a TopicKey)> {
        let start = pattern.find('*').map_or(pattern, |wildcard| &pattern[..wildcard]);
        let longer = self.in_order.range::<str, _>((Bound::Included(start), Bound::Unbounded));
        let longer = longer.take_while(move |(name, _)| name.as_str().starts_with(start));
        // `build/**` also matches `build`.
        let itself = pattern.strip_suffix("/**").and_then(|name| self.by_name.get_key_value(name));
        itself.into_iter().chain(longer)
    }

    /// Adds a feed's filters.
    pub(super) fn connect(&mut self, filters: &FilterSet, feed: FeedKey) {
        self.cost += Topics::cost_of(filters);
        for filter in filters.iter() {
            self.index.insert(filter, feed);
        }
    }

    /// Returns the cost of the filters of one feed, in bytes.
    pub(super) fn cost_of(filters: &FilterSet) -> usize {
        /// The cost of a feed, and of a level in the index. Measured, and rounded up.
        const FEED: usize = 1024;
        const LEVEL: usize = 384;
        /// The number of levels after a `*` with the usual cost, and the cost of each further one. Each publish may have to
        /// search all of the further ones, since the search branches at a `*`.
        const BRANCHING: usize = 5;
        const SEARCHED: usize = 32 * LEVEL;
        let cost = |filter: &Filter| {
            let levels = filter.levels().count();
            let branching = filter.levels().skip_while(|level| *level != "*").count();
            filter.as_str().len() + levels * LEVEL + branching.saturating_sub(BRANCHING) * SEARCHED
        };
        FEED + filters.iter().map(cost).sum::<usize>()
    }

    /// Returns the cost of the filters of all feeds, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Removes a feed's filters.
    pub(super) fn disconnect(&mut self, filters: &FilterSet, feed: FeedKey) {
        self.cost -= Topics::cost_of(filters);
        for filter in filters.iter() {
            self.index.remove(filter, feed);
        }
    }
}

#[cfg(debug_assertions)]
impl Topics {
    pub(super) fn self_check(&self, feeds: &super::feeds::Feeds) {
        let cost = feeds.iter().map(|(_, feed)| Topics::cost_of(&feed.filters)).sum::<usize>();
        assert_eq!(self.cost, cost, "cost of the filters");
        let mut found = Vec::new();
        for (key, state) in self.iter() {
            assert_eq!(self.by_name.get(&state.name), Some(&key), "the topic {}", state.name);
            assert_eq!(self.in_order.get(&state.name), Some(&key), "the topic {}", state.name);
            let wanted_by = feeds.iter().filter(|(_, feed)| feed.filters.matches(&state.name)).map(|(key, _)| key);
            self.wanted_by(&state.name, &mut found);
            found.sort_unstable();
            assert_eq!(found, wanted_by.collect::<Vec<_>>(), "feeds of the topic {}", state.name);
        }
        let topics = self.iter().count();
        assert_eq!((self.by_name.len(), self.in_order.len()), (topics, topics), "topics by name");
        let mut free = self.free.clone();
        free.sort_unstable();
        let unused: Vec<_> = (0..self.states.len()).filter(|key| self.states[*key].is_none()).collect();
        assert_eq!(free, unused, "free topic keys");

        let (mut have, mut expected) = (Vec::new(), Vec::new());
        self.index.self_check_list(None, &mut have);
        for (key, feed) in feeds.iter() {
            expected.extend(feed.filters.iter().map(|filter| (filter.to_string(), key)));
        }
        have.sort_unstable();
        expected.sort_unstable();
        assert_eq!(have, expected, "the index of filters");
    }
}
