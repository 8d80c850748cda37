//! The self-check of all feeds.

use std::collections::{BTreeSet, HashMap};

use super::Feeds;
use crate::bus::{
    feed::{Feed, FeedUsers},
    ids::FeedKey,
};

impl Feeds {
    pub(in crate::bus) fn iter(&self) -> impl Iterator<Item = (FeedKey, &Feed)> {
        self.open.iter().enumerate().filter_map(|(key, feed)| Some((key, feed.as_deref()?)))
    }

    /// Returns true if the feed is sealed, and its clients are woken, when the batch ends.
    pub(in crate::bus) fn self_check_is_dirty(&self, key: FeedKey) -> bool {
        self.dirty.contains(&key)
    }

    pub(in crate::bus) fn self_check(&self, users: &HashMap<FeedKey, FeedUsers>) {
        let (mut bytes, mut open_bytes) = (0, 0);
        for (key, feed) in self.iter() {
            let Some(users) = users.get(&key) else { panic!("feed {key} has no subscribers") };
            feed.self_check(key, users);
            assert_eq!(self.subscribers[key] as usize, users.subscribers, "subscribers of feed {key}");
            bytes += feed.bytes;
            open_bytes += feed.open.bytes.len();
            assert!(feed.open.events == 0 || self.self_check_is_dirty(key), "feed {key} is open, and not to be sealed");
            let found = self.by_filters.get(&(feed.filters.clone(), feed.format));
            assert_eq!(found, Some(&key), "the feed with {:?} in {:?}", feed.filters, feed.format);
        }
        assert_eq!(self.bytes, bytes, "bytes of all feeds");
        assert_eq!(self.open_bytes, open_bytes, "open bytes of all feeds");
        assert_eq!(self.by_filters.len(), self.iter().count(), "feeds that are found by their filters");
        let unused: BTreeSet<_> = (0..self.open.len()).filter(|key| self.open[*key].is_none()).collect();
        assert_eq!(self.free.len(), unused.len(), "free feed keys");
        assert_eq!(self.free.iter().copied().collect::<BTreeSet<_>>(), unused, "free feed keys");
        assert!(unused.iter().all(|key| self.subscribers[*key] == 0), "subscribers of closed feeds");
        self.broadcasts.self_check();
    }
}
