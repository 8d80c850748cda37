//! The deliveries of consumers: each is settled at the node that has made it.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use sse_bus::{
    bus::consumers::Settlement,
    limits::NODE_WAIT,
    protocol::{ErrorCode, Refused},
};

use super::{
    message::{Answer, Body, Question},
    state::Cluster,
};
use crate::queue::{QueueToken, stale};

/// Deliveries that are settled at once.
const AT_ONCE: usize = 256;
/// How long another node may take: it waits for the servers.
const SETTLED_WITHIN: Duration = Duration::from_secs(6);

impl Cluster {
    /// Settles deliveries of another node, and returns the result of each. It is an error if a delivery is not current, or its node
    /// is gone or does not answer.
    pub(crate) async fn settle(
        &self,
        node: &str,
        tokens: Vec<String>,
        settlement: &Settlement,
    ) -> Vec<Result<(), Refused>> {
        let all = |refused: &dyn Fn(&str) -> Refused| tokens.iter().map(|token| Err(refused(token))).collect();
        if !self.0.nodes.lock().is_present(node) {
            return all(&|token| stale(token, "is of a node that is not there, so the event is delivered again"));
        }
        let question = Question::Settle { tokens: tokens.clone(), settlement: settlement.clone() };
        let mut answers = self.ask(Some(node), question, SETTLED_WITHIN).await;
        match answers.result.remove(node).and_then(|mut parts| parts.pop()) {
            Some(Answer::Settled(results)) if results.len() == tokens.len() => {
                results.into_iter().map(|refused| refused.map_or(Ok(()), Err)).collect()
            }
            Some(Answer::Refused(refused)) => all(&|_| refused.clone()),
            _ => all(&|token| {
                let message =
                    format!("the node {node} has not answered, and may have settled the delivery `{token}`; try again");
                Refused::new(ErrorCode::Unavailable, message)
            }),
        }
    }

    pub(super) async fn settle_here(&self, tokens: &[String], settlement: &Settlement) -> Vec<Option<Refused>> {
        let mut results = Vec::with_capacity(tokens.len());
        for some in tokens.chunks(AT_ONCE) {
            let settle = some.iter().map(async |token| match QueueToken::parse(token) {
                Ok(token) => self.0.queue.settle(&token, settlement).await.err(),
                Err(refused) => Some(refused),
            });
            results.extend(join_all(settle).await);
        }
        results
    }

    /// Tells the other nodes that the deliveries of a consumer are no longer current.
    pub(crate) async fn forget_deliveries(&self, consumer: &str) {
        // A node that does not receive it settles nothing of importance: the consumer of the stream is another one.
        let _ = self.broadcast(Body::Forget { consumer: consumer.into() }).await;
    }

    /// Returns the number of workers of each consumer on the other nodes.
    pub(crate) async fn workers(&self) -> BTreeMap<String, u64> {
        let mut sum = BTreeMap::new();
        let answers = self.ask(None, Question::Workers {}, NODE_WAIT).await;
        for answer in answers.result.into_values().flatten() {
            let Answer::Workers(workers) = answer else { continue };
            for (consumer, workers) in workers {
                let all: &mut u64 = sum.entry(consumer).or_default();
                *all = all.saturating_add(workers);
            }
        }
        sum
    }
}
