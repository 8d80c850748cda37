//! Counting the subscribers of all nodes, for the answers to publishes.
//!
//! A publish asks the other nodes while it waits for the log, and uses a number again for a while. So a topic costs at most one
//! question a second, and a batch at most one question.

use std::collections::{BTreeSet, HashMap};

use sse_bus::{Topic, limits::NODE_COUNT_WAIT};

use super::{
    message::{Answer, Question},
    state::Cluster,
};

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
