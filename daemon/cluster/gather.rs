//! Asking other nodes, and gathering their answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sse_bus::limits::NODE_ANSWERS_BYTES;
use tokio::{
    runtime::Handle,
    sync::mpsc::Receiver,
    time::{Instant, timeout_at},
};

use super::{
    asks::{Content, Part},
    message::{Answer, Body, Question},
    partial::Partial,
    state::Cluster,
};

/// The parts of the answer of each node.
pub(super) type Answers = Partial<BTreeMap<String, Vec<Answer>>>;

/// A question that has been sent. Dropping it closes the question, and tells the nodes that have not answered.
struct OpenAsk<'a> {
    cluster: &'a Cluster,
    ask: u64,
    parts: Receiver<Part>,
    /// The nodes that work on the question.
    working: BTreeSet<String>,
    /// The nodes work on it until there is a reply.
    is_request: bool,
}

impl Cluster {
    /// Asks all nodes, or only one, and returns the answers. Waits for the nodes that are expected to answer, at most for `wait`. If
    /// the future is dropped, the nodes stop to work on a request.
    pub(super) async fn ask(&self, to: Option<&str>, question: Question, wait: Duration) -> Answers {
        let deadline = Instant::now() + wait;
        let names = self.0.nodes.lock().names();
        let asked: BTreeMap<_, _> = names.into_iter().filter(|(name, _)| to.is_none_or(|to| to == name)).collect();
        let mut answers = BTreeMap::new();
        if !asked.is_empty() && self.0.link.is_connected() {
            let is_request = matches!(question, Question::Request(_));
            let mut open = OpenAsk::new(self, asked.keys(), is_request);
            let body = Body::Ask { ask: open.ask, question };
            let sending = async {
                match to {
                    None => self.broadcast(body).await,
                    Some(node) => self.send(node, body).await,
                }
            };
            if let Ok(Ok(())) = timeout_at(deadline, sending).await {
                open.working = asked.keys().cloned().collect();
                answers = open.receive(deadline, &asked).await;
            }
            // For the reply to a request, another node waits for a client.
            let is_overdue = !is_request && Instant::now() >= deadline;
            for node in open.working.iter().filter(|_| is_overdue) {
                self.0.nodes.lock().mark_silent(node);
            }
        }
        let unreachable = asked.into_keys().filter(|name| !answers.contains_key(name)).collect();
        Partial { result: answers, unreachable }
    }
}

impl OpenAsk<'_> {
    fn new<'a>(cluster: &'a Cluster, nodes: impl Iterator<Item = &'a String>, is_request: bool) -> OpenAsk<'a> {
        let (ask, parts) = cluster.0.asks.lock().open(nodes.cloned());
        OpenAsk { cluster, ask, parts, working: BTreeSet::new(), is_request }
    }

    /// Receives answers until all expected nodes have answered. `nodes` are all that were asked, and whether each is expected to
    /// answer. Returns the complete answers.
    async fn receive(&mut self, deadline: Instant, nodes: &BTreeMap<String, bool>) -> BTreeMap<String, Vec<Answer>> {
        let mut bytes = 0;
        let mut received = BTreeMap::<String, Vec<Answer>>::new();
        while self.working.iter().any(|node| nodes.get(node) == Some(&true)) {
            let Ok(Some(Part { from, content })) = timeout_at(deadline, self.parts.recv()).await else { break };
            if !self.working.contains(&from) {
                continue;
            }
            match content {
                Content::Answer { answer, is_last, bytes: more } if bytes + more <= NODE_ANSWERS_BYTES => {
                    bytes += more;
                    received.entry(from.clone()).or_default().push(*answer);
                    if is_last {
                        self.working.remove(&from);
                    }
                }
                Content::Answer { .. } | Content::Gone => {
                    self.working.remove(&from);
                    received.remove(&from);
                }
            }
        }
        received.retain(|node, _| !self.working.contains(node));
        received
    }
}

impl Drop for OpenAsk<'_> {
    fn drop(&mut self) {
        self.cluster.0.asks.lock().close(self.ask);
        let Ok(runtime) = Handle::try_current() else { return };
        for node in std::mem::take(&mut self.working).into_iter().filter(|_| self.is_request) {
            let (cluster, ask) = (self.cluster.clone(), self.ask);
            runtime.spawn(async move { cluster.send(&node, Body::Cancel { ask }).await });
        }
    }
}
