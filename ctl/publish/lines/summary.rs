//! Counts the outcomes of lines, and reports refused lines with their line numbers.

use std::{collections::VecDeque, fmt};

use crate::exit::Exit;

/// Maximum number of skipped lines that are stored to compute the numbers of later lines. Above the limit the oldest
/// are removed; a refusal from before them is reported as `line ?`.
const SKIPS_MAX: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Sent lines, each counted once.
    sent: u64,
    /// Sent lines that were in flight when a connection broke and are not resent, because they have no replies.
    unknown: u64,
    /// The last answered line. Replies come in order, so the outcome of all lines before it is known.
    settled: u64,
    /// Lines answered as accepted.
    accepted: u64,
    /// Lines answered with a refusal.
    refused_by_daemon: u64,
    /// Lines refused by this program or by the daemon.
    pub(super) refused: u64,
    /// Accepted unicast lines whose client was not connected.
    pub(super) no_client: u64,
    /// Lines that were not sent.
    skipped: u64,
    /// The number of a sent line, and how many lines were skipped before it.
    skips: VecDeque<(u64, u64)>,
    /// The exit code: a limit has the highest priority, an absent client the lowest.
    pub(super) worst: Option<Exit>,
}

impl Summary {
    pub(super) fn new() -> Summary {
        Summary { skips: VecDeque::from([(0, 0)]), ..Summary::default() }
    }

    /// Counts a line that was sent or resent.
    pub(super) fn sent(&mut self, number: u64) {
        self.sent = self.sent.max(number);
    }

    /// Handles a broken connection after which the lines from `first` on are resent.
    pub(super) fn disconnected(&mut self, first: u64) {
        self.unknown += (first - 1).saturating_sub(self.settled);
        self.settled = self.settled.max(first - 1);
    }

    /// Counts and reports a line that was not sent.
    pub(super) fn skip(&mut self, exit: Exit, reason: &impl fmt::Display) {
        eprintln!("sse-busctl: line {}: {reason}", self.sent + self.skipped + 1);
        self.skipped += 1;
        self.refused += 1;
        self.note(exit);
        match self.skips.back_mut() {
            Some((from, skipped)) if *from == self.sent + 1 => *skipped = self.skipped,
            _ => self.skips.push_back((self.sent + 1, self.skipped)),
        }
        if self.skips.len() > SKIPS_MAX {
            self.skips.pop_front();
        }
    }

    /// Counts an accepted line. `has_no_client` means that the client of a unicast was not connected.
    pub(super) fn accept(&mut self, number: u64, has_no_client: bool) {
        self.accepted += 1;
        if has_no_client {
            self.no_client += 1;
            self.note(Exit::NoSubscriber);
        }
        self.settle(number);
    }

    /// Counts and reports a line that the daemon refused.
    pub(super) fn refuse(&mut self, number: u64, exit: Exit, reason: &impl fmt::Display) {
        match self.line(number) {
            Some(line) => eprintln!("sse-busctl: line {line}: {reason}"),
            None => eprintln!("sse-busctl: line ?: {reason}"),
        }
        self.refused += 1;
        self.refused_by_daemon += 1;
        self.note(exit);
        self.settle(number);
    }

    /// Returns the number of lines that were sent or skipped.
    pub(super) fn lines(&self) -> u64 {
        self.sent + self.skipped
    }

    /// Returns the number of accepted events. `complete` means that all replies have arrived.
    pub(super) fn accepted(&self, complete: bool) -> u64 {
        if complete { self.sent - self.refused_by_daemon - self.unknown } else { self.accepted }
    }

    /// Returns the number of sent events whose outcome is unknown.
    pub(super) fn unanswered(&self, complete: bool) -> u64 {
        self.sent - self.accepted(complete) - self.refused_by_daemon
    }

    /// Returns the line of the input for the number of a sent line.
    pub(super) fn line(&self, number: u64) -> Option<u64> {
        let index = self.skips.partition_point(|(from, _)| *from <= number).checked_sub(1)?;
        Some(number + self.skips[index].1)
    }

    /// Removes the skipped lines before an answered line, which are no longer needed.
    fn settle(&mut self, number: u64) {
        self.settled = self.settled.max(number);
        while self.skips.get(1).is_some_and(|(from, _)| *from <= number) {
            self.skips.pop_front();
        }
    }

    fn note(&mut self, exit: Exit) {
        let weight = |exit: Exit| match exit {
            Exit::Limit => 3,
            Exit::NoSubscriber => 1,
            _ => 2,
        };
        if self.worst.is_none_or(|worst| weight(worst) < weight(exit)) {
            self.worst = Some(exit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_reported_with_the_lines_of_their_events() {
        let mut summary = Summary::new();
        summary.sent(1); // line 1
        summary.skip(Exit::Failed, &"test"); // lines 2 and 3
        summary.skip(Exit::Failed, &"test");
        summary.sent(2); // line 4
        summary.skip(Exit::Limit, &"test"); // line 5
        summary.sent(3); // line 6
        assert_eq!([1, 2, 3].map(|number| summary.line(number)), [Some(1), Some(4), Some(6)]);
        summary.accept(1, false);
        summary.refuse(2, Exit::Failed, &"test");
        summary.accept(3, false);
        assert_eq!(summary.skips.len(), 1);
        assert_eq!(
            (summary.accepted(true), summary.accepted(false), summary.refused, summary.unanswered(false)),
            (2, 2, 4, 0)
        );
        assert_eq!(summary.worst, Some(Exit::Limit));
    }

    #[test]
    fn lines_in_flight_without_replys_are_not_counted_as_accepted() {
        let mut summary = Summary::new();
        (1..=9).for_each(|number| summary.sent(number));
        summary.accept(1, false);
        summary.refuse(3, Exit::Failed, &"test");
        // The outcome of 4 to 7 is unknown; 8 and 9 are resent, and one more line is sent.
        summary.disconnected(8);
        (8..=10).for_each(|number| summary.sent(number));
        assert_eq!((summary.accepted(false), summary.unanswered(false)), (1, 8));
        assert_eq!((summary.accepted(true), summary.unanswered(true)), (5, 4));
    }

    #[test]
    fn the_number_of_stored_skips_is_bounded() {
        let mut summary = Summary::new();
        for number in 1..=SKIPS_MAX as u64 + 10 {
            summary.sent(number);
            summary.skips.push_back((number + 1, number));
            if summary.skips.len() > SKIPS_MAX {
                summary.skips.pop_front();
            }
        }
        assert_eq!(summary.line(1), None);
        assert_eq!(summary.line(SKIPS_MAX as u64 + 10), Some(2 * SKIPS_MAX as u64 + 19));
    }
}
