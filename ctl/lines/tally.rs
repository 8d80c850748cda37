//! What became of the lines: counted, and the refused ones reported with their line numbers.

use std::collections::VecDeque;

use crate::exit::Exit;

/// Skipped lines that are remembered for the numbers of those that follow. Beyond it the oldest are forgotten; their
/// answers have come long ago, or would say `line ?`.
const SKIPS: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Each event goes to one client, who may not be there.
    unicast: bool,
    /// Requests sent.
    sent: u64,
    /// Of these, those that are answered only if they are refused.
    unanswered: u64,
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
    /// From which request on how many lines had been skipped.
    skips: VecDeque<(u64, u64)>,
    /// How to end: a limit before anything else, an absent client last.
    pub(super) worst: Option<Exit>,
}

impl Tally {
    pub(super) fn new(unicast: bool) -> Tally {
        Tally { unicast, skips: VecDeque::from([(0, 0)]), ..Tally::default() }
    }

    pub(super) fn sent(&mut self, number: u64, without_answer: bool) {
        self.sent = number;
        self.unanswered += u64::from(without_answer);
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

    pub(super) fn accept(&mut self, number: u64, subscribers: u64) {
        self.accepted += 1;
        if self.unicast && subscribers == 0 {
            self.nobody += 1;
            self.note(Exit::Nobody);
        }
        self.forget(number);
    }

    pub(super) fn refuse(&mut self, number: u64, exit: Exit, why: &str) {
        match self.line(number) {
            Some(line) => eprintln!("sse-busctl: line {line}: {why}"),
            None => eprintln!("sse-busctl: line ?: {why}"),
        }
        self.refused += 1;
        self.refused_by_daemon += 1;
        self.note(exit);
        self.forget(number);
    }

    /// How many events are known to be accepted; `complete` if all answers have come.
    pub(super) fn accepted(&self, complete: bool) -> u64 {
        if complete { self.sent - self.refused_by_daemon } else { self.accepted }
    }

    /// Events sent that were neither accepted nor refused.
    pub(super) fn open(&self) -> u64 {
        self.sent - self.accepted - self.refused_by_daemon
    }

    /// The line of a request.
    fn line(&self, number: u64) -> Option<u64> {
        let place = self.skips.partition_point(|(from, _)| *from <= number).checked_sub(1)?;
        Some(number + self.skips[place].1)
    }

    /// Answers come in order: what was skipped before this one's line is of no more use.
    fn forget(&mut self, number: u64) {
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
        let mut tally = Tally::new(false);
        tally.sent(1, false); // line 1
        tally.skip(Exit::Failed, "test"); // lines 2 and 3
        tally.skip(Exit::Failed, "test");
        tally.sent(2, false); // line 4
        tally.skip(Exit::Limit, "test"); // line 5
        tally.sent(3, false); // line 6
        assert_eq!([1, 2, 3].map(|number| tally.line(number)), [Some(1), Some(4), Some(6)]);
        tally.accept(1, 0);
        tally.refuse(2, Exit::Failed, "test");
        tally.accept(3, 0);
        assert_eq!(tally.skips.len(), 1);
        assert_eq!((tally.accepted(true), tally.accepted(false), tally.refused, tally.open()), (2, 2, 4, 0));
        assert_eq!(tally.worst, Some(Exit::Limit));
    }

    #[test]
    fn what_is_remembered_of_skipped_lines_is_bounded() {
        let mut tally = Tally::new(false);
        for number in 1..=SKIPS as u64 + 10 {
            tally.sent(number, true);
            tally.skips.push_back((number + 1, number));
            if tally.skips.len() > SKIPS {
                tally.skips.pop_front();
            }
        }
        assert_eq!(tally.line(1), None);
        assert_eq!(tally.line(SKIPS as u64 + 10), Some(2 * SKIPS as u64 + 19));
    }
}
