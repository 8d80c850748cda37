//! What became of the lines: counted, and the refused ones reported with their line numbers.

use std::collections::VecDeque;

use crate::exit::Exit;

/// Skipped lines that are remembered for the numbers of those that follow. Beyond it the oldest are forgotten; their
/// answers have come long ago, or would say `line ?`.
const SKIPS: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Lines sent, each counted once.
    sent: u64,
    /// Of these, those that were on their way when a connection broke, and are not sent again: no answer was wanted.
    unknown: u64,
    /// The last line that was answered. Answers come in order: what became of all before it is known.
    settled: u64,
    /// Positive answers.
    accepted: u64,
    /// Answered with a refusal.
    refused_by_daemon: u64,
    /// Refused, here or by the daemon.
    pub(super) refused: u64,
    /// Accepted, but its client was not there.
    pub(super) nobody: u64,
    /// Lines that were not sent.
    skipped: u64,
    /// From which line sent on how many had been skipped.
    skips: VecDeque<(u64, u64)>,
    /// How to end: a limit before anything else, an absent client last.
    pub(super) worst: Option<Exit>,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally { skips: VecDeque::from([(0, 0)]), ..Tally::default() }
    }

    /// A line was sent, perhaps again.
    pub(super) fn sent(&mut self, number: u64) {
        self.sent = self.sent.max(number);
    }

    /// The connection has broken; the lines from `first` on are sent again.
    pub(super) fn broken(&mut self, first: u64) {
        self.unknown += (first - 1).saturating_sub(self.settled);
        self.settled = self.settled.max(first - 1);
    }

    /// A line was not sent.
    pub(super) fn skip(&mut self, exit: Exit, why: &str) {
        eprintln!("sse-busctl: line {}: {why}", self.sent + self.skipped + 1);
        self.skipped += 1;
        self.refused += 1;
        self.note(exit);
        match self.skips.back_mut() {
            Some((from, skipped)) if *from == self.sent + 1 => *skipped = self.skipped,
            _ => self.skips.push_back((self.sent + 1, self.skipped)),
        }
        if self.skips.len() > SKIPS {
            self.skips.pop_front();
        }
    }

    /// A line was accepted; `for_nobody` if the one client it is for is not there.
    pub(super) fn accept(&mut self, number: u64, for_nobody: bool) {
        self.accepted += 1;
        if for_nobody {
            self.nobody += 1;
            self.note(Exit::Nobody);
        }
        self.settle(number);
    }

    pub(super) fn refuse(&mut self, number: u64, exit: Exit, why: &str) {
        match self.line(number) {
            Some(line) => eprintln!("sse-busctl: line {line}: {why}"),
            None => eprintln!("sse-busctl: line ?: {why}"),
        }
        self.refused += 1;
        self.refused_by_daemon += 1;
        self.note(exit);
        self.settle(number);
    }

    /// How many events are known to be accepted; `complete` if all answers have come.
    pub(super) fn accepted(&self, complete: bool) -> u64 {
        if complete { self.sent - self.refused_by_daemon - self.unknown } else { self.accepted }
    }

    /// Events sent that are not known to be accepted or refused.
    pub(super) fn open(&self, complete: bool) -> u64 {
        self.sent - self.accepted(complete) - self.refused_by_daemon
    }

    /// The line of the input that a number stands for.
    pub(super) fn line(&self, number: u64) -> Option<u64> {
        let place = self.skips.partition_point(|(from, _)| *from <= number).checked_sub(1)?;
        Some(number + self.skips[place].1)
    }

    /// A line was answered. What was skipped before it is of no more use.
    fn settle(&mut self, number: u64) {
        self.settled = self.settled.max(number);
        while self.skips.get(1).is_some_and(|(from, _)| *from <= number) {
            self.skips.pop_front();
        }
    }

    fn note(&mut self, exit: Exit) {
        let weight = |exit: Exit| match exit {
            Exit::Limit => 3,
            Exit::Nobody => 1,
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
    fn requests_are_told_by_their_lines() {
        let mut tally = Tally::new();
        tally.sent(1); // line 1
        tally.skip(Exit::Failed, "test"); // lines 2 and 3
        tally.skip(Exit::Failed, "test");
        tally.sent(2); // line 4
        tally.skip(Exit::Limit, "test"); // line 5
        tally.sent(3); // line 6
        assert_eq!([1, 2, 3].map(|number| tally.line(number)), [Some(1), Some(4), Some(6)]);
        tally.accept(1, false);
        tally.refuse(2, Exit::Failed, "test");
        tally.accept(3, false);
        assert_eq!(tally.skips.len(), 1);
        assert_eq!((tally.accepted(true), tally.accepted(false), tally.refused, tally.open(false)), (2, 2, 4, 0));
        assert_eq!(tally.worst, Some(Exit::Limit));
    }

    #[test]
    fn what_broke_on_its_way_and_wants_no_answer_is_not_counted_as_accepted() {
        let mut tally = Tally::new();
        (1..=9).for_each(|number| tally.sent(number));
        tally.accept(1, false);
        tally.refuse(3, Exit::Failed, "test");
        // Of 4 to 7 nothing is known; 8 and 9 are sent again, and one more.
        tally.broken(8);
        (8..=10).for_each(|number| tally.sent(number));
        assert_eq!((tally.accepted(false), tally.open(false)), (1, 8));
        assert_eq!((tally.accepted(true), tally.open(true)), (5, 4));
    }

    #[test]
    fn what_is_remembered_of_skipped_lines_is_bounded() {
        let mut tally = Tally::new();
        for number in 1..=SKIPS as u64 + 10 {
            tally.sent(number);
            tally.skips.push_back((number + 1, number));
            if tally.skips.len() > SKIPS {
                tally.skips.pop_front();
            }
        }
        assert_eq!(tally.line(1), None);
        assert_eq!(tally.line(SKIPS as u64 + 10), Some(2 * SKIPS as u64 + 19));
    }
}
