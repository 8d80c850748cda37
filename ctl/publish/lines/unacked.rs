//! Stores the lines that are not answered yet, so that they can be resent after a broken connection.
//!
//! They are a contiguous range: the first line that waits for a reply and all lines after it. The range is bounded by
//! [`UNACKED_MAX`] bytes; at the limit no more input is read until replies arrive.

use std::{collections::VecDeque, mem::size_of};

/// Maximum bytes of stored lines. One more line may exceed it.
const UNACKED_MAX: usize = 4 << 20;

#[derive(Debug)]
struct Line {
    bytes: Box<[u8]>,
    /// The event is for one client, which may not be connected.
    is_unicast: bool,
    /// Answered, or sent without requesting a reply.
    is_done: bool,
}

#[derive(Debug, Default)]
pub(super) struct UnackedLines {
    lines: VecDeque<Line>,
    bytes: usize,
    /// The number of the last stored line. The first line has 1.
    last: u64,
}

impl UnackedLines {
    /// Stores a line before it is sent, and returns its number.
    pub(super) fn push(&mut self, line: &[u8], is_unicast: bool) -> u64 {
        self.last += 1;
        self.bytes += cost(line);
        self.lines.push_back(Line { bytes: line.into(), is_unicast, is_done: false });
        self.last
    }

    /// Removes the last line, which could not be sent.
    pub(super) fn remove_last(&mut self) {
        if let Some(line) = self.lines.pop_back() {
            self.last -= 1;
            self.bytes -= cost(&line.bytes);
        }
    }

    /// Returns the number of the first stored line, or of the next line if none is stored.
    pub(super) fn first(&self) -> u64 {
        self.last + 1 - self.len()
    }

    pub(super) fn len(&self) -> u64 {
        self.lines.len() as u64
    }

    /// Returns true if no line is stored, or this line is no longer stored.
    pub(super) fn is_empty_or_after(&self, number: u64) -> bool {
        self.lines.is_empty() || self.first() > number
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= UNACKED_MAX
    }

    /// Returns a stored line.
    pub(super) fn get(&self, number: u64) -> Option<&[u8]> {
        Some(&self.lines.get(self.index(number)?)?.bytes)
    }

    /// Returns true if a stored line is for one client.
    pub(super) fn is_unicast(&self, number: u64) -> bool {
        self.index(number).and_then(|index| self.lines.get(index)).is_some_and(|line| line.is_unicast)
    }

    /// Marks a line as done, and removes the first lines that are.
    pub(super) fn done(&mut self, number: u64) {
        if let Some(line) = self.index(number).and_then(|index| self.lines.get_mut(index)) {
            line.is_done = true;
        }
        while let Some(line) = self.lines.pop_front_if(|line| line.is_done) {
            self.bytes -= cost(&line.bytes);
        }
    }

    /// Marks all stored lines as not done, because they will be resent.
    pub(super) fn reset(&mut self) {
        self.lines.iter_mut().for_each(|line| line.is_done = false);
    }

    fn index(&self, number: u64) -> Option<usize> {
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
    fn the_range_begins_with_the_first_line_that_is_not_done() {
        let mut unacked = UnackedLines::default();
        let numbers = ["1", "2", "3", "4"].map(|line| unacked.push(line.as_bytes(), line == "2"));
        assert_eq!(numbers, [1, 2, 3, 4]);
        unacked.done(3);
        assert_eq!((unacked.first(), unacked.len(), unacked.get(3)), (1, 4, Some(&b"3"[..])));
        assert_eq!([1, 2, 3, 9].map(|number| unacked.is_unicast(number)), [false, true, false, false]);
        unacked.done(1);
        assert_eq!((unacked.first(), unacked.get(1), unacked.get(4), unacked.get(5)), (2, None, Some(&b"4"[..]), None));
        unacked.reset();
        unacked.done(2);
        assert_eq!(unacked.first(), 3, "line 3 was resent, and is not answered again");
        unacked.remove_last();
        assert_eq!(unacked.push(b"four", false), 4);
        unacked.done(3);
        unacked.done(4);
        assert_eq!((unacked.first(), unacked.len(), unacked.bytes), (5, 0, 0));
    }

    #[test]
    fn the_range_is_bounded_even_if_lines_are_empty() {
        let mut unacked = UnackedLines::default();
        while !unacked.is_full() {
            unacked.push(b"", false);
        }
        assert!(unacked.len() as usize <= UNACKED_MAX / size_of::<Line>() + 1);
    }
}
