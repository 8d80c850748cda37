//! The filters of all feeds, as a tree of their levels.

use std::collections::HashMap;

use super::{feed_set::FeedSet, ids::FeedKey};
use crate::topic::{Filter, Topic};

/// A node of the tree.
#[derive(Debug, Default)]
pub(super) struct Index {
    levels: HashMap<Box<str>, Box<Index>>,
    any: Option<Box<Index>>,
    /// Feeds with a filter that ends at this node, in order.
    here: Vec<FeedKey>,
    /// Feeds with a filter that ends in `**` below this node, in order.
    below: Vec<FeedKey>,
}

/// Adds a feed to a list in order.
fn insert(list: &mut Vec<FeedKey>, feed: FeedKey) {
    if let Err(at) = list.binary_search(&feed) {
        list.insert(at, feed);
    }
}

/// Removes a feed from a list in order.
fn remove(list: &mut Vec<FeedKey>, feed: FeedKey) {
    if let Ok(at) = list.binary_search(&feed) {
        list.remove(at);
    }
}

impl Index {
    pub(super) fn insert(&mut self, filter: &Filter, feed: FeedKey) {
        let mut node = self;
        for level in filter.levels() {
            node = match level {
                "**" => return insert(&mut node.below, feed),
                "*" => node.any.get_or_insert_default(),
                _ => node.levels.entry(level.into()).or_default(),
            };
        }
        insert(&mut node.here, feed);
    }

    pub(super) fn remove(&mut self, filter: &Filter, feed: FeedKey) {
        self.remove_at(&mut filter.levels(), feed);
    }

    /// Removes the feed from the node at these levels, and every node that becomes empty.
    fn remove_at(&mut self, levels: &mut dyn Iterator<Item = &str>, feed: FeedKey) {
        match levels.next() {
            None => remove(&mut self.here, feed),
            Some("**") => remove(&mut self.below, feed),
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

    /// Replaces the content of `found` by the feeds with a filter that matches a topic, in order and without duplicates.
    pub(super) fn matching(&self, topic: &Topic, found: &mut Vec<FeedKey>) {
        /// The number of feeds from which on sorting them takes longer than a set does.
        const MANY: usize = 512;
        found.clear();
        self.collect(Some(topic.as_str()), !topic.is_system(), found);
        // This is usual: one node has all matching filters.
        if found.is_sorted_by(|a, b| a < b) {
            return;
        }
        if found.len() < MANY {
            found.sort_unstable();
            found.dedup();
        } else {
            let set = FeedSet::new(found);
            found.clear();
            found.extend(set.iter());
        }
    }

    /// `levels` are those below this node. `wild` is true if wildcards match there: on the first level of a `$` topic they do
    /// not.
    fn collect(&self, levels: Option<&str>, wild: bool, found: &mut Vec<FeedKey>) {
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

#[cfg(debug_assertions)]
impl Index {
    /// Lists the filters at and below a node, each with its feed.
    pub(super) fn self_check_list(&self, path: Option<&str>, found: &mut Vec<(String, FeedKey)>) {
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
