//! What history records besides events: the metadata of topics, and losses.

use serde::{Deserialize, Serialize};

/// Number of crashes that are recorded one by one. Older ones count as losses of unknown topics: a subscriber that resumes
/// before them receives a gap at once, which begins where it resumes.
const CRASHES_MAX: usize = 16;

/// Per-topic metadata of history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPast {
    /// The sequence number of the retained event.
    pub retained: Option<u64>,
    /// The sequence number of the topic's first event; 0 if it had none.
    pub first: u64,
    /// The sequence number of the last evicted event, retained or not.
    pub last_lost: u64,
}

/// Losses that are recorded for all topics together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnattributedLosses {
    /// The sequence number of the last lost event of any topic.
    pub last_loss: u64,
    /// The sequence number of the last lost event of a topic that is removed, or unknown.
    pub last: u64,
    /// The losses by crashes, oldest first. Stored under an earlier name.
    #[serde(rename = "torn")]
    pub crashes: Vec<CrashLoss>,
}

/// Sequence numbers that were lost in a crash: they may have been used, and their events were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashLoss {
    /// The sequence number before the first of them.
    pub after: u64,
    /// The last of them.
    pub last: u64,
}

impl UnattributedLosses {
    /// Records that events up to a sequence number may be lost, of unknown topics.
    pub fn lose(&mut self, last: u64) {
        self.last_loss = self.last_loss.max(last);
        self.last = self.last.max(last);
    }

    /// Records the losses of a crash.
    pub fn add_crash(&mut self, crash: CrashLoss) {
        // There was no event since the crash before.
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
