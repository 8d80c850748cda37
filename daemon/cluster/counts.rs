//! The numbers of the subscribers of other nodes, which the answers to publishes contain.
//!
//! A publish asks the other nodes while it waits for the log, and uses a number again for
//! [`NODE_COUNT_KEPT`]. So a topic costs at most one question a second, and a batch at most one question.

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use sse_bus::{
    Topic,
    limits::{NODE_COUNT_KEPT, NODE_COUNT_WAIT, NODE_COUNTS_MAX},
};

use super::{
    Cluster,
    message::{Answer, Question},
};

/// The numbers by topic, and when each was counted.
#[derive(Default)]
pub(super) struct Counts(HashMap<Topic, (Instant, u64)>);

impl Counts {
    fn get(&self, topic: &Topic) -> Option<u64> {
        self.0.get(topic).filter(|(counted, _)| counted.elapsed() < NODE_COUNT_KEPT).map(|(_, count)| *count)
    }

    fn note(&mut self, topic: Topic, count: u64) {
        if self.0.len() >= NODE_COUNTS_MAX && !self.0.contains_key(&topic) {
            self.0.clear();
        }
        self.0.insert(topic, (Instant::now(), count));
    }
}

impl Cluster {
    /// Counts the subscribers of topics on the other nodes, at most for [`NODE_COUNT_WAIT`]. Subscribers of nodes that do not
    /// answer in time are not counted.
    pub(crate) async fn count_subscribers(&self, topics: &BTreeSet<Topic>) -> HashMap<Topic, u64> {
        let mut counted = HashMap::new();
        if self.0.nodes.lock().is_empty() {
            return counted;
        }
        let mut asked = Vec::new();
        for topic in topics {
            match self.0.counts.lock().get(topic) {
                Some(count) => drop(counted.insert(topic.clone(), count)),
                None => asked.push(topic),
            }
        }
        if asked.is_empty() {
            return counted;
        }
        let names = asked.iter().map(ToString::to_string).collect();
        let answers = self.ask(None, Question::Subscribers { topics: names }, NODE_COUNT_WAIT).await;
        let numbers = answers.result.into_values().flatten().filter_map(|answer| match answer {
            Answer::Subscribers(numbers) => Some(numbers),
            _ => None,
        });
        let mut sums = vec![0_u64; asked.len()];
        for numbers in numbers {
            sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum = sum.saturating_add(number));
        }
        for (topic, sum) in asked.into_iter().zip(sums) {
            self.0.counts.lock().note(topic.clone(), sum);
            counted.insert(topic.clone(), sum);
        }
        counted
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
