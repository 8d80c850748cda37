//! The topics that the bus knows, and which feeds want each.
//!
//! The relation between topics and feeds is kept in both directions, so that a publish goes straight from its topic
//! to the feeds. Filters are searched only when a topic is new ([`Index`], a tree of their levels), topics only when a
//! pattern is. There are at most [`Limits::topics`](crate::limits::Limits::topics); when room is needed, a topic
//! without history and retained event is forgotten. What filters cost, each topic that they match included, is bounded by
//! [`Limits::filters_bytes`](crate::limits::Limits::filters_bytes).

use std::collections::{HashMap, HashSet};

use super::{feeds::FeedKey, history::TopicKey};
use crate::topic::{Filter, FilterSet, Topic};

/// Bytes that a topic costs in the table of each feed that it matches, and the feed in the topic's.
pub(super) const MATCH: usize = 48;

/// A topic that the bus knows.
#[derive(Debug)]
pub(super) struct TopicState {
    pub(super) name: Topic,
    /// The feeds whose filters match.
    pub(super) feeds: Vec<FeedKey>,
    /// Events published since the topic became known.
    pub(super) published: u64,
    /// The newest event: its number and when it came, in milliseconds since 1970.
    pub(super) last: Option<(u64, u64)>,
}

/// All known topics.
#[derive(Debug, Default)]
pub(super) struct Topics {
    states: Vec<Option<TopicState>>,
    free: Vec<TopicKey>,
    by_name: HashMap<Topic, TopicKey>,
    index: Index,
    /// What the filters of all feeds cost, see [`Topics::cost_of`], but for what they match.
    filters: usize,
    /// Pairs of a topic and a feed whose filters match it.
    matches: usize,
    /// Where the search for a topic to forget goes on.
    hand: TopicKey,
}

impl Topics {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn find(&self, topic: &Topic) -> Option<TopicKey> {
        self.by_name.get(topic).copied()
    }

    pub(super) fn get(&self, key: TopicKey) -> Option<&TopicState> {
        self.states.get(key)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: TopicKey) -> Option<&mut TopicState> {
        self.states.get_mut(key)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TopicKey, &TopicState)> {
        self.states.iter().enumerate().filter_map(|(key, state)| Some((key, state.as_ref()?)))
    }

    /// Looks at some topics, others each time, for one that holds nothing.
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

    /// The feeds that want a new topic.
    pub(super) fn wanted_by(&self, name: &Topic) -> Vec<FeedKey> {
        self.index.matching(name)
    }

    /// Takes up a new topic and the feeds that want it.
    pub(super) fn insert(&mut self, name: Topic, feeds: Vec<FeedKey>) -> (TopicKey, &[FeedKey]) {
        self.matches += feeds.len();
        let key = self.free.pop().unwrap_or_else(|| {
            self.states.push(None);
            self.states.len() - 1
        });
        self.by_name.insert(name.clone(), key);
        let state = self.states[key].insert(TopicState { name, feeds, published: 0, last: None });
        (key, &state.feeds)
    }

    /// Forgets a topic and gives the feeds that wanted it.
    pub(super) fn remove(&mut self, key: TopicKey) -> Vec<FeedKey> {
        let Some(state) = self.states.get_mut(key).and_then(Option::take) else { return Vec::new() };
        self.matches -= state.feeds.len();
        self.by_name.remove(&state.name);
        self.free.push(key);
        state.feeds
    }

    /// The topics that filters match.
    pub(super) fn matched_by(&self, filters: &FilterSet) -> HashSet<TopicKey> {
        let exact: Option<Vec<&str>> = filters.iter().map(Filter::as_topic).collect();
        match exact {
            Some(names) => names.iter().filter_map(|name| self.find(&Topic::parse(name).ok()?)).collect(),
            None => self.iter().filter(|(_, state)| filters.matches(&state.name)).map(|(key, _)| key).collect(),
        }
    }

    /// Takes up a feed's filters and the topics that they match.
    pub(super) fn connect(&mut self, filters: &FilterSet, feed: FeedKey, matched: &HashSet<TopicKey>) {
        self.filters += Topics::cost_of(filters, 0);
        self.matches += matched.len();
        for filter in filters.iter() {
            self.index.insert(filter, feed);
        }
        for key in matched {
            if let Some(state) = self.get_mut(*key) {
                state.feeds.push(feed);
            }
        }
    }

    /// Bytes that the filters of one feed are charged with, if they match so many topics.
    pub(super) fn cost_of(filters: &FilterSet, matched: usize) -> usize {
        /// A feed; a level in the index; a match, on both sides. Measured, and rounded up.
        const FEED: usize = 1024;
        const LEVEL: usize = 384;
        let levels = |filter: &Filter| filter.as_str().len() + filter.levels().count() * LEVEL;
        FEED + filters.iter().map(levels).sum::<usize>() + matched * MATCH
    }

    /// Bytes that the filters of all feeds are charged with.
    pub(super) fn cost(&self) -> usize {
        self.filters + self.matches * MATCH
    }

    /// Lets a feed's filters go.
    pub(super) fn disconnect(&mut self, filters: &FilterSet, feed: FeedKey, topics: &HashSet<TopicKey>) {
        self.filters -= Topics::cost_of(filters, 0);
        self.matches -= topics.len();
        for filter in filters.iter() {
            self.index.remove(filter, feed);
        }
        for key in topics {
            if let Some(state) = self.get_mut(*key) {
                state.feeds.retain(|f| *f != feed);
            }
        }
    }
}

/// The filters of all feeds, by level.
#[derive(Debug, Default)]
struct Index {
    levels: HashMap<Box<str>, Box<Index>>,
    any: Option<Box<Index>>,
    /// Feeds with a filter that ends here.
    here: Vec<FeedKey>,
    /// Feeds with a filter that ends here in `**`.
    below: Vec<FeedKey>,
}

impl Index {
    fn insert(&mut self, filter: &Filter, feed: FeedKey) {
        let mut node = self;
        for level in filter.levels() {
            node = match level {
                "**" => return node.below.push(feed),
                "*" => node.any.get_or_insert_default(),
                _ => node.levels.entry(level.into()).or_default(),
            };
        }
        node.here.push(feed);
    }

    fn remove(&mut self, filter: &Filter, feed: FeedKey) {
        self.remove_at(&mut filter.levels(), feed);
    }

    /// Removes what the levels lead to, and every node that becomes empty on the way.
    fn remove_at(&mut self, levels: &mut dyn Iterator<Item = &str>, feed: FeedKey) {
        match levels.next() {
            None => self.here.retain(|f| *f != feed),
            Some("**") => self.below.retain(|f| *f != feed),
            Some("*") => {
                if let Some(node) = &mut self.any {
                    node.remove_at(levels, feed);
                }
                self.any.take_if(|node| node.is_empty());
            }
            Some(level) => {
                if let Some(node) = self.levels.get_mut(level) {
                    node.remove_at(levels, feed);
                    if node.is_empty() {
                        self.levels.remove(level);
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.any.is_none() && self.here.is_empty() && self.below.is_empty()
    }

    fn matching(&self, topic: &Topic) -> Vec<FeedKey> {
        let levels: Vec<&str> = topic.as_str().split('/').collect();
        let mut found = Vec::new();
        self.collect(&levels, !topic.is_system(), &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    /// `wild`: whether wildcards count at this level; on the first level of a `$` topic they do not.
    fn collect(&self, levels: &[&str], wild: bool, found: &mut Vec<FeedKey>) {
        if wild {
            found.extend(&self.below);
        }
        let Some((level, rest)) = levels.split_first() else { return found.extend(&self.here) };
        if let Some(node) = self.levels.get(*level) {
            node.collect(rest, true, found);
        }
        if let Some(node) = self.any.as_ref().filter(|_| wild) {
            node.collect(rest, true, found);
        }
    }
}

#[cfg(debug_assertions)]
impl Topics {
    pub(super) fn self_check(&self, feeds: &super::feeds::Feeds) {
        let filters = feeds.iter().map(|(_, feed)| Topics::cost_of(&feed.filters, 0)).sum::<usize>();
        assert_eq!(self.filters, filters, "cost of the filters");
        let mut matches = 0;
        for (key, state) in self.iter() {
            assert_eq!(self.by_name.get(&state.name), Some(&key), "the topic {}", state.name);
            let mut wanted_by: Vec<_> =
                feeds.iter().filter(|(_, feed)| feed.filters.matches(&state.name)).map(|(key, _)| key).collect();
            for (feed_key, feed) in feeds.iter() {
                let has = feed.topics.contains(&key);
                assert_eq!(has, wanted_by.contains(&feed_key), "whether feed {feed_key} has the topic {}", state.name);
            }
            let mut have = state.feeds.clone();
            have.sort_unstable();
            wanted_by.sort_unstable();
            assert_eq!(have, wanted_by, "feeds of the topic {}", state.name);
            matches += have.len();
        }
        assert_eq!(self.matches, matches, "matches of topics and feeds");
        let topics_of_feeds = feeds.iter().map(|(_, feed)| feed.topics.len()).sum::<usize>();
        assert_eq!(self.matches, topics_of_feeds, "topics of the feeds");
        assert_eq!(self.by_name.len(), self.iter().count(), "topics by name");
        let mut free = self.free.clone();
        free.sort_unstable();
        let unused: Vec<_> = (0..self.states.len()).filter(|key| self.states[*key].is_none()).collect();
        assert_eq!(free, unused, "free topic numbers");

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

#[cfg(debug_assertions)]
impl Index {
    /// Lists the filters at and below a node, each with its feed.
    fn self_check_list(&self, path: Option<&str>, found: &mut Vec<(String, FeedKey)>) {
        assert!(path.is_none() || !self.is_empty(), "an empty node in the index of filters at {path:?}");
        let child = |level: &str| path.map_or_else(|| level.to_owned(), |path| format!("{path}/{level}"));
        found.extend(self.here.iter().map(|feed| (path.unwrap_or_default().to_owned(), *feed)));
        found.extend(self.below.iter().map(|feed| (child("**"), *feed)));
        if let Some(node) = &self.any {
            node.self_check_list(Some(&child("*")), found);
        }
        for (level, node) in &self.levels {
            node.self_check_list(Some(&child(level)), found);
        }
    }
}
