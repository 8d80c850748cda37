//! The state of the lines across connections.

use std::fmt::Write;

use super::{summary::Summary, unacked::UnackedLines};
use crate::{exit::Failure, output::Output, units::count};

/// The outcomes of the lines so far, and the lines that may have to be resent.
pub(super) struct Progress {
    pub(super) summary: Summary,
    pub(super) unacked: UnackedLines,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress { summary: Summary::new(), unacked: UnackedLines::default() }
    }

    /// Returns true if no line was read yet.
    pub(super) fn is_empty(&self) -> bool {
        self.summary.lines() == 0
    }

    /// Prepares to resend the unanswered lines on a new connection, and reports it.
    pub(super) fn reconnected(&mut self) {
        self.unacked.reset();
        self.summary.disconnected(self.unacked.first());
        match self.unacked.len() {
            0 => eprintln!("sse-busctl: reconnected"),
            unanswered => eprintln!("sse-busctl: reconnected; resending {}", self.without_reply(unanswered)),
        }
    }

    /// Prints how many events were accepted. Returns the outcome of the command.
    pub(super) fn finish(&self, output: &Output, outcome: Result<(), Failure>) -> Result<(), Failure> {
        let summary = &self.summary;
        let is_complete = outcome.is_ok();
        let (accepted, unanswered) = (summary.accepted(is_complete), summary.unanswered(is_complete));
        let mut text = format!("{} accepted", count(accepted, "event"));
        // Writing to a String cannot fail.
        if summary.refused > 0 {
            let _ = write!(text, ", {} refused", summary.refused);
        }
        if summary.no_client > 0 {
            let _ = write!(text, ", {} without a connected client", summary.no_client);
        }
        if unanswered > 0 {
            let _ = write!(text, ", {}", self.without_reply(unanswered));
        }
        // On stderr, because stdout is for programs.
        if !output.is_quiet || accepted < summary.lines() {
            eprintln!("{text}");
        }
        if !output.people() {
            output.confirm(String::new, &serde_json::json!({ "accepted": accepted, "refused": summary.refused }))?;
        }
        outcome?;
        match summary.worst {
            Some(exit) => Err(Failure::silent(exit)),
            None => Ok(()),
        }
    }

    /// Returns the number of unanswered lines and the first line that can be resent.
    fn without_reply(&self, unanswered: u64) -> String {
        let first = Some(self.unacked.first()).filter(|_| self.unacked.len() > 0);
        let line = first.and_then(|first| self.summary.line(first));
        let from = line.map_or(String::new(), |line| format!(", starting with line {line}"));
        format!("{} without a reply{from}", count(unanswered, "line"))
    }
}
