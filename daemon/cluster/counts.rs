//! The numbers of the subscribers of other nodes, by topic. They are used again for [`NODE_COUNT_KEPT`].

use std::{collections::HashMap, time::Instant};

use sse_bus::{
    Topic,
    limits::{NODE_COUNT_KEPT, NODE_COUNTS_MAX},
};

/// The numbers by topic, and when each was counted.
#[derive(Default)]
pub(super) struct Counts(HashMap<Topic, (Instant, u64)>);

impl Counts {
    pub(super) fn get(&self, topic: &Topic) -> Option<u64> {
        self.0.get(topic).filter(|(counted, _)| counted.elapsed() < NODE_COUNT_KEPT).map(|(_, count)| *count)
    }

    pub(super) fn note(&mut self, topic: Topic, count: u64) {
        if self.0.len() >= NODE_COUNTS_MAX && !self.0.contains_key(&topic) {
            self.0.clear();
        }
        self.0.insert(topic, (Instant::now(), count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_and_bounded() {
        let mut counts = Counts::default();
        let topic = |number: usize| Topic::parse(&format!("t/{number}")).unwrap();
        counts.note(topic(1), 7);
        assert_eq!((counts.get(&topic(1)), counts.get(&topic(2))), (Some(7), None));
        for number in 0..3 * NODE_COUNTS_MAX {
            counts.note(topic(number), 1);
            assert!(counts.0.len() <= NODE_COUNTS_MAX);
        }
    }
}
