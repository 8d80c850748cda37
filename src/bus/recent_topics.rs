//! The topics that a publisher published to last.
//!
//! At most [`PUBLISHED_TO`] topics, so that a publisher costs at most about 2 KiB more; the least recent one is dropped
//! first. A publisher that repeats a topic costs one comparison for each event.

use crate::{limits::PUBLISHED_TO, topic::Topic};

/// Topics, the most recent first, without duplicates.
#[derive(Debug, Default)]
pub(super) struct RecentTopics(Vec<Topic>);

impl RecentTopics {
    /// Makes a topic the most recent one.
    pub(super) fn note(&mut self, topic: &Topic) {
        match self.0.iter().position(|known| known == topic) {
            Some(0) => {}
            Some(at) => self.0[..=at].rotate_right(1),
            None => {
                self.0.truncate(PUBLISHED_TO - 1);
                self.0.insert(0, topic.clone());
            }
        }
    }

    /// Returns the topics as text.
    pub(super) fn to_strings(&self) -> Vec<String> {
        self.0.iter().map(Topic::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_recent_topics_are_kept_in_order_and_once() {
        let mut recent = RecentTopics::default();
        let mut note = |topic: &str| {
            recent.note(&Topic::parse(topic).unwrap());
            recent.to_strings().join(" ")
        };
        assert_eq!(note("a"), "a");
        assert_eq!(note("a"), "a");
        assert_eq!(note("b"), "b a");
        assert_eq!(note("a"), "a b");
        for topic in ["c", "d", "e", "f", "g", "h"] {
            note(topic);
        }
        assert_eq!(note("b"), "b h g f e d c a");
        assert_eq!(note("i"), "i b h g f e d c");
    }
}
