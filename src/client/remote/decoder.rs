//! Decodes an event stream in the form that the daemon sends: LF only, no byte order mark.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr;

use crate::limits::FRAME_MAX;

/// Maximum bytes of a block. JSON can need six bytes for one byte of data.
const BLOCK_MAX: usize = 6 * FRAME_MAX;

/// A block of a stream: the fields up to a blank line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) id: Option<String>,
    pub(super) event_type: Option<String>,
    pub(super) data: Option<String>,
}

/// The block is too long.
#[derive(Debug)]
pub(super) struct TooLong;

/// Splits a stream into blocks. Buffers one block and one read.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    buffer: BytesMut,
    /// Bytes that were searched for a line break.
    searched: usize,
    block: Block,
}

impl Decoder {
    /// Appends what was received.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next whole block with at least one field.
    pub(super) fn next(&mut self) -> Result<Option<Block>, TooLong> {
        while let Some(found) = memchr(b'\n', &self.buffer[self.searched..]) {
            let line = self.buffer.split_to(self.searched + found);
            self.buffer.advance(1);
            self.searched = 0;
            if line.is_empty() {
                let block = std::mem::take(&mut self.block);
                if block != Block::default() {
                    return Ok(Some(block));
                }
                continue;
            }
            self.field(&line.freeze());
            if self.block.data.as_ref().is_some_and(|data| data.len() > BLOCK_MAX) {
                return Err(TooLong);
            }
        }
        self.searched = self.buffer.len();
        if self.searched > BLOCK_MAX { Err(TooLong) } else { Ok(None) }
    }

    fn field(&mut self, line: &Bytes) {
        let colon = memchr(b':', line).unwrap_or(line.len());
        let value = line.slice((colon + 1).min(line.len())..);
        let value = if value.starts_with(b" ") { value.slice(1..) } else { value };
        let text = || String::from_utf8_lossy(&value).into_owned();
        match &line[..colon] {
            b"id" => self.block.id = Some(text()),
            b"event" => self.block.event_type = Some(text()),
            b"data" => match &mut self.block.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(&text());
                }
                None => self.block.data = Some(text()),
            },
            // Such as `retry`: the client has waits of its own.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(id: Option<&str>, event_type: Option<&str>, data: Option<&str>) -> Block {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Block { id: owned(id), event_type: owned(event_type), data: owned(data) }
    }

    #[test]
    fn blocks_do_not_depend_on_the_size_of_reads() {
        let stream = "retry: 1234\nid: a-1\n\n:\n: {\"x\":1}\nid: a-2\nevent: k\ndata: one\ndata:two\ndata\n\n:\n\n\ndata: é\n\n".as_bytes();
        let wanted = [
            block(Some("a-1"), None, None),
            block(Some("a-2"), Some("k"), Some("one\ntwo\n")),
            block(None, None, Some("é")),
        ];
        for step in 1..=stream.len() {
            let (mut decoder, mut blocks) = (Decoder::default(), Vec::new());
            for bytes in stream.chunks(step) {
                decoder.push(bytes);
                while let Some(block) = decoder.next().unwrap() {
                    blocks.push(block);
                }
            }
            assert_eq!(blocks, wanted, "{step} bytes a read");
        }
    }

    #[test]
    fn memory_is_bounded_by_the_longest_block() {
        let mut decoder = Decoder::default();
        let line = [b"data: ".as_slice(), &vec![b'x'; FRAME_MAX], b"\n"].concat();
        let refused = (0..10).position(|_| {
            decoder.push(&line);
            decoder.next().is_err()
        });
        assert_eq!(refused, Some(5));
        let mut decoder = Decoder::default();
        decoder.push(&vec![b'x'; BLOCK_MAX + 1]);
        assert!(decoder.next().is_err());
    }
}
