//! The self-check of feeds.

use std::collections::{BTreeSet, HashMap};

use super::{
    super::{check::FeedUsers, ids::FeedKey},
    Feed, Feeds,
};

impl Feeds {
    pub(in crate::bus) fn iter(&self) -> impl Iterator<Item = (FeedKey, &Feed)> {
        self.open.iter().enumerate().filter_map(|(key, feed)| Some((key, feed.as_ref()?)))
    }

    /// Returns true if the feed is sealed, and its clients are called, when the batch ends.
    pub(in crate::bus) fn is_dirty(&self, key: FeedKey) -> bool {
        self.dirty.contains(&key)
    }

    pub(in crate::bus) fn self_check(&self, users: &HashMap<FeedKey, FeedUsers>) {
        let (mut bytes, mut open_bytes) = (0, 0);
        for (key, feed) in self.iter() {
            let Some(users) = users.get(&key) else { panic!("feed {key} has no subscribers") };
            feed.self_check(key, users);
            bytes += feed.bytes;
            open_bytes += feed.open.bytes.len();
            assert!(feed.open.events == 0 || self.is_dirty(key), "feed {key} is open, and not to be sealed");
            let found = self.by_filters.get(&(feed.filters.clone(), feed.format));
            assert_eq!(found, Some(&key), "the feed with {:?} in {:?}", feed.filters, feed.format);
        }
        assert_eq!(self.bytes, bytes, "bytes of all feeds");
        assert_eq!(self.open_bytes, open_bytes, "open bytes of all feeds");
        assert_eq!(self.by_filters.len(), self.iter().count(), "feeds that are found by their filters");
        let unused: BTreeSet<_> = (0..self.open.len()).filter(|key| self.open[*key].is_none()).collect();
        assert_eq!(self.free.len(), unused.len(), "free feed numbers");
        assert_eq!(self.free.iter().copied().collect::<BTreeSet<_>>(), unused, "free feed numbers");
    }
}

impl Feed {
    /// The positions of the groups that have members.
    pub(in crate::bus) fn self_check_positions(&self) -> impl Iterator<Item = u64> {
        self.groups.iter().filter(|group| !group.members.is_empty()).map(|group| group.segment)
    }

    fn self_check(&self, key: FeedKey, users: &FeedUsers) {
        assert_eq!(self.subscribers, users.subscribers, "subscribers of feed {key}");
        assert_eq!(self.live, users.positions.len(), "live cursors of feed {key}");
        let bytes = self.segments.iter().map(|segment| segment.chunk.len()).sum::<usize>();
        assert_eq!(self.bytes, bytes, "bytes of feed {key}");
        assert_eq!(self.open.events == 0, self.open.bytes.is_empty(), "open events of feed {key}");
        let (mut turn, mut last) = (0, 0);
        for (number, segment) in (self.oldest..).zip(&self.segments) {
            let unread = users.positions.iter().filter(|cursor| **cursor <= number).count();
            assert_eq!(segment.unread, unread, "cursors that have not read segment {number} of feed {key}");
            assert!(unread > 0, "segment {number} of feed {key} was read by all");
            assert!(turn < segment.turn && last <= segment.last, "the order of segment {number} of feed {key}");
            assert!(segment.newest == 0 || segment.newest > last, "the numbers of segment {number} of feed {key}");
            assert!(segment.events > 0, "events of segment {number} of feed {key}");
            (turn, last) = (segment.turn, segment.last);
        }
        assert!(
            users.positions.iter().all(|position| *position <= self.end()),
            "a cursor of feed {key} is beyond its end"
        );
    }
}
