//! What history records beside the events that it holds.

use serde::{Deserialize, Serialize};

/// So many crashes are known each with its place. Of those before, whoever comes from there is told at once.
const TORN_MAX: usize = 16;

/// What of a topic's past is no event: what it holds beyond its bounds, and what it has lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPast {
    /// The number of the retained event.
    pub retained: Option<u64>,
    /// The first event that the topic ever had.
    pub first: u64,
    /// The last event that the bounds evicted, be it retained or not.
    pub last_lost: u64,
}

/// What has gone of which no topic knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// The last event that was let go of any topic.
    pub last_loss: u64,
    /// The last event that was let go of a topic that is forgotten now.
    pub last: u64,
    /// What crashes have taken, oldest first.
    pub torn: Vec<Torn>,
}

/// Numbers that a crash has taken: they may have been used, and nothing of them was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Torn {
    /// The last number before them.
    pub after: u64,
    /// The last of them.
    pub last: u64,
}

impl Forgotten {
    /// Notes that anything may be lost up to an event, and nobody knows of which topics.
    pub fn lose(&mut self, last: u64) {
        self.last_loss = self.last_loss.max(last);
        self.last = self.last.max(last);
    }

    /// Notes what a crash has taken.
    pub fn tear(&mut self, torn: Torn) {
        // Nothing came between two crashes.
        if let Some(before) = self.torn.last_mut().filter(|before| before.last == torn.after) {
            before.last = torn.last;
            return;
        }
        self.torn.push(torn);
        if self.torn.len() > TORN_MAX {
            let oldest = self.torn.remove(0);
            self.lose(oldest.last);
        }
    }
}
