//! What history records beside the events that it holds.

use serde::{Deserialize, Serialize};

/// So many crashes are known each with its place. Of those before, whoever comes from there is told at once.
const CRASHES_MAX: usize = 16;

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
pub struct UnattributedLosses {
    /// The last event that was let go of any topic.
    pub last_loss: u64,
    /// The last event that was let go of a topic that is forgotten now.
    pub last: u64,
    /// What crashes have taken, oldest first.
    #[serde(rename = "torn")]
    pub crashes: Vec<CrashLoss>,
}

/// Numbers that a crash has taken: they may have been used, and nothing of them was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashLoss {
    /// The last number before them.
    pub after: u64,
    /// The last of them.
    pub last: u64,
}

impl UnattributedLosses {
    /// Notes that anything may be lost up to an event, and nobody knows of which topics.
    pub fn lose(&mut self, last: u64) {
        self.last_loss = self.last_loss.max(last);
        self.last = self.last.max(last);
    }

    /// Notes what a crash has taken.
    pub fn add_crash(&mut self, crash: CrashLoss) {
        // Nothing came between two crashes.
        if let Some(before) = self.crashes.last_mut().filter(|before| before.last == crash.after) {
            before.last = crash.last;
            return;
        }
        self.crashes.push(crash);
        if self.crashes.len() > CRASHES_MAX {
            let oldest = self.crashes.remove(0);
            self.lose(oldest.last);
        }
    }
}
