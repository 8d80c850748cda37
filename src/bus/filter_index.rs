//! The filters of all feeds, or of all responders, as a tree of their levels.

use super::{feed_set::FeedSet, ids::FeedKey, split_map::SplitMap};
use crate::topic::{Filter, Topic};

/// A node of the tree.
#[derive(Debug)]
pub(super) struct Index<K = FeedKey> {
    levels: SplitMap<Box<str>, Box<Index<K>>>,
    any: Option<Box<Index<K>>>,
    /// Feeds with a filter that ends at this node, in order.
    here: Vec<K>,
    /// Feeds with a filter that ends in `**` below this node, in order.
    below: Vec<K>,
}

impl<K> Default for Index<K> {
    fn default() -> Index<K> {
        Index { levels: SplitMap::default(), any: None, here: Vec::new(), below: Vec::new() }
    }
}

/// Adds a feed to a list in order.
fn insert<K: Ord>(list: &mut Vec<K>, feed: K) {
    if let Err(at) = list.binary_search(&feed) {
        list.insert(at, feed);
    }
}

/// Removes a feed from a list in order.
fn remove<K: Ord>(list: &mut Vec<K>, feed: &K) {
    if let Ok(at) = list.binary_search(feed) {
        list.remove(at);
    }
}

/// Returns true if a list is in order and without duplicates. This is usual: one node has all matching filters.
fn is_ordered<K: Ord>(list: &[K]) -> bool {
    list.is_sorted_by(|a, b| a < b)
}

/// Orders a list, and removes duplicates.
fn order<K: Ord>(list: &mut Vec<K>) {
    if !is_ordered(list) {
        list.sort_unstable();
        list.dedup();
    }
}

impl<K: Copy + Ord> Index<K> {
    pub(super) fn insert(&mut self, filter: &Filter, feed: K) {
        let mut node = self;
        for level in filter.levels() {
            node = match level {
                "**" => return insert(&mut node.below, feed),
                "*" => node.any.get_or_insert_default(),
                _ => node.levels.get_or_insert_with(level.into(), Box::default),
            };
        }
        insert(&mut node.here, feed);
    }

    pub(super) fn remove(&mut self, filter: &Filter, feed: K) {
        self.remove_at(&mut filter.levels(), feed);
    }

    /// Removes the feed from the node at these levels, and every node that becomes empty.
    fn remove_at(&mut self, levels: &mut dyn Iterator<Item = &str>, feed: K) {
        match levels.next() {
            None => remove(&mut self.here, &feed),
            Some("**") => remove(&mut self.below, &feed),
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

    /// Replaces the content of `found` by the keys with a filter that matches a topic, in order and without duplicates.
    pub(super) fn matching(&self, topic: &Topic, found: &mut Vec<K>) {
        self.collect_matching(topic, found);
        order(found);
    }

    /// Replaces the content of `found` by the keys with a filter that matches a topic; a key once for each such filter.
    fn collect_matching(&self, topic: &Topic, found: &mut Vec<K>) {
        found.clear();
        self.collect(Some(topic.as_str()), !topic.is_system(), found);
    }

    /// `levels` are those below this node. `wild` is true if wildcards match there: on the first level of a `$` topic they do
    /// not.
    fn collect(&self, levels: Option<&str>, wild: bool, found: &mut Vec<K>) {
        if wild {
            found.extend(&self.below);
        }
        let Some(levels) = levels else { return found.extend(&self.here) };
        let (level, rest) = levels.split_once('/').map_or((levels, None), |(level, rest)| (level, Some(rest)));
        if let Some(node) = self.levels.get(level) {
            node.collect(rest, true, found);
        }
        if let Some(node) = self.any.as_ref().filter(|_| wild) {
            node.collect(rest, true, found);
        }
    }
}

impl Index {
    /// Does the same as [`Index::matching`], faster for very many feeds.
    pub(super) fn matching_feeds(&self, topic: &Topic, found: &mut Vec<FeedKey>) {
        /// The number of feeds from which on sorting them takes longer than a set does.
        const MANY: usize = 512;
        self.collect_matching(topic, found);
        if found.len() < MANY {
            order(found);
        } else if !is_ordered(found) {
            let set = FeedSet::new(found);
            found.clear();
            found.extend(set.iter());
        }
    }
}

#[cfg(debug_assertions)]
impl<K: Copy + Ord> Index<K> {
    /// Lists the filters at and below a node, each with its feed.
    pub(super) fn self_check_list(&self, path: Option<&str>, found: &mut Vec<(String, K)>) {
        assert!(path.is_none() || !self.is_empty(), "an empty node in the index of filters at {path:?}");
        let child = |level: &str| path.map_or_else(|| level.to_owned(), |path| format!("{path}/{level}"));
        found.extend(self.here.iter().map(|feed| (path.unwrap_or_default().to_owned(), *feed)));
        found.extend(self.below.iter().map(|feed| (child("**"), *feed)));
        if let Some(node) = &self.any {
            node.self_check_list(Some(&child("*")), found);
        }
        for (level, node) in self.levels.iter() {
            node.self_check_list(Some(&child(level)), found);
        }
    }
}
