//! Splits input into lines, with memory bounded by the maximum length of a line.

use memchr::memchr;
use sse_bus::protocol::json::BOM;

/// A line, without its LF or CRLF.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// The whole line.
    Whole(&'a [u8]),
    /// The line exceeds the maximum length and was discarded. Contains its length.
    TooLong(usize),
}

/// Splits bytes into lines, without a byte order mark before the first. Buffers at most one line of the maximum length
/// and one read.
pub(super) struct Splitter {
    buffer: Vec<u8>,
    /// The start of the next line.
    start: usize,
    /// The end of the part that was searched for a line break.
    searched: usize,
    /// Discarded bytes of a line that is too long.
    skipped: usize,
    longest: usize,
    /// It is not known yet whether the input begins with a byte order mark.
    may_have_mark: bool,
}

impl Splitter {
    pub(super) fn new(longest: usize) -> Splitter {
        Splitter { buffer: Vec::new(), start: 0, searched: 0, skipped: 0, longest, may_have_mark: true }
    }

    /// Returns the buffer to append the next read to, with room for `size` bytes. All lines must have been taken
    /// before.
    pub(super) fn space(&mut self, size: usize) -> &mut Vec<u8> {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        if self.skipped > 0 || self.buffer.len() > self.longest + 1 {
            self.skipped += self.buffer.len();
            self.buffer.clear();
            self.searched = 0;
        }
        self.buffer.reserve(size);
        &mut self.buffer
    }

    fn skip_mark(&mut self) {
        if !self.may_have_mark || (self.buffer.len() < BOM.len() && BOM.starts_with(&self.buffer)) {
            return;
        }
        self.may_have_mark = false;
        if self.buffer.starts_with(BOM) {
            (self.start, self.searched) = (BOM.len(), BOM.len());
        }
    }

    /// Returns the next line that ends with a line break.
    pub(super) fn next(&mut self) -> Option<Line<'_>> {
        self.skip_mark();
        let Some(found) = memchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return None;
        };
        let (start, end) = (self.start, self.searched + found);
        self.start = end + 1;
        self.searched = end + 1;
        let line = &self.buffer[start..end];
        Some(Self::line(line.strip_suffix(b"\r").unwrap_or(line), &mut self.skipped, self.longest))
    }

    /// Returns the next line at the end of the input, where the last line needs no line break.
    pub(super) fn end(&mut self) -> Option<Line<'_>> {
        self.skip_mark();
        if memchr(b'\n', &self.buffer[self.searched..]).is_some() {
            return self.next();
        }
        if self.start == self.buffer.len() && self.skipped == 0 {
            return None;
        }
        let start = std::mem::replace(&mut self.start, self.buffer.len());
        self.searched = self.buffer.len();
        Some(Self::line(&self.buffer[start..], &mut self.skipped, self.longest))
    }

    fn line<'a>(line: &'a [u8], skipped: &mut usize, longest: usize) -> Line<'a> {
        let size = std::mem::take(skipped) + line.len();
        if size > longest || size > line.len() { Line::TooLong(size) } else { Line::Whole(line) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits `input`, read `step` bytes at a time.
    fn split(input: &[u8], step: usize, longest: usize) -> Vec<Result<String, usize>> {
        let mut splitter = Splitter::new(longest);
        let mut lines = Vec::new();
        let mut take = |line: Line<'_>| {
            lines.push(match line {
                Line::Whole(line) => Ok(String::from_utf8(line.to_vec()).unwrap()),
                Line::TooLong(size) => Err(size),
            });
        };
        for chunk in input.chunks(step) {
            splitter.space(chunk.len()).extend_from_slice(chunk);
            while let Some(line) = splitter.next() {
                take(line);
            }
            assert!(splitter.buffer.len() <= longest + 2 + step);
        }
        splitter.space(0);
        while let Some(line) = splitter.end() {
            take(line);
        }
        lines
    }

    #[test]
    fn lines_do_not_depend_on_the_size_of_reads() {
        let input = b"one\n\ntwo\r\n12345678\n123456789\n\r\nfar too long for this\r\n\rx\r\nlast";
        let wanted = [
            Ok("one".into()),
            Ok(String::new()),
            Ok("two".into()),
            Ok("12345678".into()),
            Err(9),
            Ok(String::new()),
            Err(21),
            Ok("\rx".into()),
            Ok("last".into()),
        ];
        for step in 1..=input.len() {
            let lines = split(input, step, 8);
            let without_lengths: Vec<_> = lines.iter().map(|l| l.clone().map_err(|_| ())).collect();
            assert_eq!(without_lengths, wanted.clone().map(|l| l.map_err(|_| ())), "{step} bytes a read");
        }
        assert_eq!(split(input, input.len(), 8), wanted);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_only_before_the_first_line() {
        for step in 1..9 {
            assert_eq!(split("\u{feff}a\n\u{feff}\n".as_bytes(), step, 8), [Ok("a".into()), Ok("\u{feff}".into())]);
            assert_eq!(split("\u{feff}12345678\n".as_bytes(), step, 8), [Ok("12345678".into())]);
            assert_eq!(split("\u{feff}".as_bytes(), step, 8), []);
            assert_eq!(split(b"\na\xef\xbb\xbf\n", step, 8), [Ok(String::new()), Ok("a\u{feff}".into())]);
        }
    }

    #[test]
    fn a_line_break_at_the_end_does_not_start_another_line() {
        assert_eq!(split(b"a\n", 1, 8), [Ok("a".into())]);
        assert_eq!(split(b"", 1, 8), []);
        assert_eq!(split(b"\n", 1, 8), [Ok(String::new())]);
        assert_eq!(split(b"123456789abcdef", 4, 8), [Err(15)]);
    }
}
