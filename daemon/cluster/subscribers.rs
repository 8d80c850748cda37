//! Counting the subscribers of all nodes, for the answers to publishes.
//!
//! A publish asks the other nodes while it waits for the log, and uses a number again for a while. So a topic costs at most one
//! question a second, and a batch at most one question.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use sse_bus::{
    Topic,
    limits::{NODE_COUNT_WAIT, NODE_TOPICS_MAX, NODE_WAIT},
    protocol::TopicInfo,
};
use tokio::time::Instant;

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
        let sums = self.ask_for_subscribers(names, NODE_COUNT_WAIT).await;
        for (topic, sum) in asked.into_iter().zip(sums) {
            self.0.counts.lock().note(topic.clone(), sum);
            counted.insert(topic.clone(), sum);
        }
        counted
    }

    /// Adds the subscribers of the other nodes to topics, of as many as are answered within [`NODE_WAIT`].
    pub(crate) async fn add_subscribers(&self, topics: &mut [TopicInfo]) {
        let deadline = Instant::now() + NODE_WAIT;
        for some in topics.chunks_mut(NODE_TOPICS_MAX) {
            let wait = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero() || self.0.nodes.lock().is_empty() {
                return;
            }
            let names = some.iter().map(|topic| topic.topic.clone()).collect();
            for (topic, sum) in some.iter_mut().zip(self.ask_for_subscribers(names, wait).await) {
                topic.subscribers = topic.subscribers.saturating_add(sum);
            }
        }
    }

    /// Returns the sum of the subscribers of the other nodes for each topic, at most [`NODE_TOPICS_MAX`].
    async fn ask_for_subscribers(&self, topics: Vec<String>, wait: Duration) -> Vec<u64> {
        let mut sums = vec![0_u64; topics.len()];
        let answers = self.ask(None, Question::Subscribers { topics }, wait).await;
        for answer in answers.result.into_values().flatten() {
            if let Answer::Subscribers(numbers) = answer {
                sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum = sum.saturating_add(number));
            }
        }
        sums
    }
}
