//! The filters of all feeds, or of all responders, as a tree of their levels.

use std::collections::HashMap;

use super::ids::FeedKey;
use crate::topic::{Filter, Topic};

/// A node of the tree.
#[derive(Debug)]
pub(super) struct Index<K = FeedKey> {
    levels: HashMap<Box<str>, Box<Index<K>>>,
    any: Option<Box<Index<K>>>,
    /// Feeds with a filter that ends at this node.
    here: Vec<K>,
    /// Feeds with a filter that ends in `**` below this node.
    below: Vec<K>,
}

impl<K> Default for Index<K> {
    fn default() -> Index<K> {
        Index { levels: HashMap::new(), any: None, here: Vec::new(), below: Vec::new() }
    }
}

impl<K: Copy + Ord> Index<K> {
    pub(super) fn insert(&mut self, filter: &Filter, feed: K) {
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

    pub(super) fn remove(&mut self, filter: &Filter, feed: K) {
        self.remove_at(&mut filter.levels(), feed);
    }

    /// Removes the feed from the node at these levels, and every node that becomes empty.
    fn remove_at(&mut self, levels: &mut dyn Iterator<Item = &str>, feed: K) {
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

    /// Appends the feeds with a filter that matches a topic, without duplicates.
    pub(super) fn matching(&self, topic: &Topic, found: &mut Vec<K>) {
        self.collect(Some(topic.as_str()), !topic.is_system(), found);
        found.sort_unstable();
        found.dedup();
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
        for (level, node) in &self.levels {
            node.self_check_list(Some(&child(level)), found);
        }
    }
}
