//! The questions that wait for answers of other nodes.
//!
//! The parts of the answers to one question wait in a channel of [`PARTS`]; at the limit the node counts as missing. The
//! receiver adds up their bytes.

use std::collections::{BTreeSet, HashMap};

use tokio::sync::mpsc;

use super::message::Answer;

/// Parts that wait for the task that has asked.
const PARTS: usize = 256;

/// Something about an answer.
pub(super) struct Part {
    pub(super) from: String,
    pub(super) content: Content,
}

pub(super) enum Content {
    /// An answer, or a part of it.
    Answer { answer: Box<Answer>, is_last: bool, bytes: usize },
    /// There is no answer: the node has left, or too many parts wait.
    Gone,
}

/// The questions that wait.
#[derive(Default)]
pub(super) struct Asks {
    last: u64,
    open: HashMap<u64, Open>,
}

struct Open {
    /// The nodes whose answers are not complete.
    nodes: BTreeSet<String>,
    parts: mpsc::Sender<Part>,
}

impl Asks {
    /// Adds a question to nodes. Returns its number, and what receives the answers.
    pub(super) fn open(&mut self, nodes: impl Iterator<Item = String>) -> (u64, mpsc::Receiver<Part>) {
        self.last += 1;
        let (parts, receiver) = mpsc::channel(PARTS);
        self.open.insert(self.last, Open { nodes: nodes.collect(), parts });
        (self.last, receiver)
    }

    pub(super) fn close(&mut self, ask: u64) {
        self.open.remove(&ask);
    }

    /// Passes an answer on. Answers of nodes that were not asked, or that come too late, are ignored.
    pub(super) fn answered(&mut self, ask: u64, from: &str, answer: Answer, is_last: bool, bytes: usize) {
        let Some(open) = self.open.get_mut(&ask).filter(|open| open.nodes.contains(from)) else { return };
        let content = Content::Answer { answer: Box::new(answer), is_last, bytes };
        let is_full = open.parts.try_send(Part { from: from.into(), content }).is_err();
        if is_last || is_full {
            open.nodes.remove(from);
        }
    }

    /// Ends the questions to a node that has left.
    pub(super) fn gone(&mut self, node: &str) {
        for open in self.open.values_mut() {
            if open.nodes.remove(node) {
                // If the channel is full, its receiver waits until its own deadline.
                let _ = open.parts.try_send(Part { from: node.into(), content: Content::Gone });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(asks: &mut Asks) -> (u64, mpsc::Receiver<Part>) {
        asks.open(["a", "b"].map(String::from).into_iter())
    }

    #[test]
    fn only_nodes_that_were_asked_can_answer_and_each_once() {
        let mut asks = Asks::default();
        let (ask, mut parts) = asked(&mut asks);
        for (from, is_last) in [("c", true), ("a", false), ("a", true), ("a", true)] {
            asks.answered(ask, from, Answer::Replied {}, is_last, 1);
        }
        asks.answered(ask + 1, "b", Answer::Replied {}, true, 1);
        let mut seen = Vec::new();
        while let Ok(Part { from, content: Content::Answer { is_last, .. } }) = parts.try_recv() {
            seen.push((from, is_last));
        }
        assert_eq!(seen, [("a".into(), false), ("a".into(), true)]);
    }

    #[test]
    fn a_node_that_leaves_ends_its_questions_once() {
        let mut asks = Asks::default();
        let (ask, mut parts) = asked(&mut asks);
        asks.gone("b");
        asks.gone("b");
        asks.answered(ask, "b", Answer::Replied {}, true, 1);
        let part = parts.try_recv().unwrap();
        assert!(part.from == "b" && matches!(part.content, Content::Gone) && parts.try_recv().is_err());
    }

    #[test]
    fn the_parts_that_wait_are_bounded() {
        let mut asks = Asks::default();
        let (ask, mut parts) = asked(&mut asks);
        for _ in 0..2 * PARTS {
            asks.answered(ask, "a", Answer::Replied {}, false, 1);
        }
        assert_eq!(std::iter::from_fn(|| parts.try_recv().ok()).count(), PARTS);
        asks.close(ask);
        assert!(asks.open.is_empty());
    }
}
