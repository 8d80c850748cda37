//! The lines that are not answered yet, kept so that they can be sent again after a broken connection.
//!
//! They are the last ones that were read, without a hole: the first that awaits an answer, and all behind it. Bounded by
//! [`KEPT_MAX`] bytes; at it nothing more is read until answers have come.

use std::{collections::VecDeque, mem::size_of};

/// Bytes that may be kept, and one line more.
const KEPT_MAX: usize = 4 << 20;

#[derive(Debug)]
struct Line {
    bytes: Box<[u8]>,
    /// It is for one client, who may not be there.
    is_unicast: bool,
    /// Answered, or sent where no answer is wanted.
    is_done: bool,
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    lines: VecDeque<Line>,
    bytes: usize,
    /// The number of the last line that was kept. The first has 1.
    last: u64,
}

impl Kept {
    /// Keeps a line that is about to be sent, and gives its number.
    pub(super) fn push(&mut self, line: &[u8], is_unicast: bool) -> u64 {
        self.last += 1;
        self.bytes += cost(line);
        self.lines.push_back(Line { bytes: line.into(), is_unicast, is_done: false });
        self.last
    }

    /// Forgets the last line: it could not be sent.
    pub(super) fn take_back(&mut self) {
        if let Some(line) = self.lines.pop_back() {
            self.last -= 1;
            self.bytes -= cost(&line.bytes);
        }
    }

    /// The number of the first line that is kept, or of the next one that will be.
    pub(super) fn first(&self) -> u64 {
        self.last + 1 - self.len()
    }

    pub(super) fn len(&self) -> u64 {
        self.lines.len() as u64
    }

    /// Whether nothing is kept, or not a line any more that was.
    pub(super) fn is_empty_or_behind(&self, line: u64) -> bool {
        self.lines.is_empty() || self.first() > line
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= KEPT_MAX
    }

    /// A line that is kept.
    pub(super) fn get(&self, number: u64) -> Option<&[u8]> {
        Some(&self.lines.get(self.place(number)?)?.bytes)
    }

    /// Whether a line that is kept is for one client.
    pub(super) fn is_unicast(&self, number: u64) -> bool {
        self.place(number).and_then(|place| self.lines.get(place)).is_some_and(|line| line.is_unicast)
    }

    /// Notes that nothing more will come of a line.
    pub(super) fn done(&mut self, number: u64) {
        if let Some(line) = self.place(number).and_then(|place| self.lines.get_mut(place)) {
            line.is_done = true;
        }
        while let Some(line) = self.lines.pop_front_if(|line| line.is_done) {
            self.bytes -= cost(&line.bytes);
        }
    }

    /// All that is kept is to be sent again.
    pub(super) fn again(&mut self) {
        self.lines.iter_mut().for_each(|line| line.is_done = false);
    }

    fn place(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first())?).ok()
    }
}

fn cost(line: &[u8]) -> usize {
    line.len() + size_of::<Line>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_begins_with_the_first_line_that_is_not_done() {
        let mut kept = Kept::default();
        let numbers = ["1", "2", "3", "4"].map(|line| kept.push(line.as_bytes(), line == "2"));
        assert_eq!(numbers, [1, 2, 3, 4]);
        kept.done(3);
        assert_eq!((kept.first(), kept.len(), kept.get(3)), (1, 4, Some(&b"3"[..])));
        assert_eq!([1, 2, 3, 9].map(|number| kept.is_unicast(number)), [false, true, false, false]);
        kept.done(1);
        assert_eq!((kept.first(), kept.get(1), kept.get(4), kept.get(5)), (2, None, Some(&b"4"[..]), None));
        kept.again();
        kept.done(2);
        assert_eq!(kept.first(), 3, "it was sent again, and is not answered again");
        kept.take_back();
        assert_eq!(kept.push(b"four", false), 4);
        kept.done(3);
        kept.done(4);
        assert_eq!((kept.first(), kept.len(), kept.bytes), (5, 0, 0));
    }

    #[test]
    fn what_is_kept_is_bounded_also_if_lines_are_empty() {
        let mut kept = Kept::default();
        while !kept.is_full() {
            kept.push(b"", false);
        }
        assert!(kept.len() as usize <= KEPT_MAX / size_of::<Line>() + 1);
    }
}
