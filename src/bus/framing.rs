//! The framing of a stream's bytes: none, or chunks of HTTP/1.1.
//!
//! A [`Chunk`] is encoded once, with its frame, and shared: a subscriber whose transport needs no frame reads the payload
//! within the same memory. So framing costs no copy and no system call for each subscriber.
//!
//! Source: RFC 9112, section 7.1, "Chunked Transfer Coding".

use bytes::{Buf, Bytes};

/// The framing of the bytes for a reader's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// None: the transport has its own frames, or the end of the connection ends the stream.
    Plain,
    /// As chunks of HTTP/1.1. The reader appends [`Framing::end`] when a stream ends.
    Chunked,
}

impl Framing {
    /// Returns bytes with their frame. They must not be empty.
    pub fn frame(self, payload: &[u8]) -> Bytes {
        let mut buffer = ChunkBuffer::default();
        buffer.append(payload);
        buffer.take(self).into()
    }

    /// Returns the bytes that end a stream, if the framing has them. A stream of chunks without them has been cut off.
    pub fn end(self) -> Option<Bytes> {
        match self {
            Framing::Plain => None,
            Framing::Chunked => Some(Bytes::from_static(b"0\r\n\r\n")),
        }
    }
}

const LINE_END: &[u8] = b"\r\n";
/// Room for the size of a chunk, in hexadecimal digits, and the end of its line.
const SIZE_LINE: usize = 8 + LINE_END.len();

/// A buffer for payload, which begins with room for the size line.
#[derive(Debug, Default)]
pub(super) struct ChunkBuffer(Vec<u8>);

impl ChunkBuffer {
    /// Returns the number of bytes of payload.
    pub(super) fn len(&self) -> usize {
        self.0.len().saturating_sub(SIZE_LINE)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends payload. The first allocation has room for the frame, so that a chunk of one event is allocated once.
    pub(super) fn append(&mut self, payload: &[u8]) {
        if self.0.is_empty() {
            self.0.reserve_exact(SIZE_LINE + payload.len() + LINE_END.len());
        }
        self.payload().extend_from_slice(payload);
    }

    /// Returns the buffer, to append payload. Its content must not be changed.
    pub(super) fn payload(&mut self) -> &mut Vec<u8> {
        if self.0.is_empty() {
            self.0.resize(SIZE_LINE, 0);
        }
        &mut self.0
    }

    /// Returns a copy of the payload with its frame, and clears the buffer. The payload must not be empty.
    pub(super) fn take(&mut self, framing: Framing) -> Vec<u8> {
        let start = match framing {
            Framing::Plain => SIZE_LINE,
            Framing::Chunked => self.close(),
        };
        let bytes = self.0[start..].to_vec();
        self.0.clear();
        bytes
    }

    /// Frees memory above `most` bytes.
    pub(super) fn shrink_to(&mut self, most: usize) {
        self.0.shrink_to(most);
    }

    /// Writes the frame around the payload. Returns the offset of the frame.
    fn close(&mut self) -> usize {
        let (mut rest, mut start) = (self.len(), SIZE_LINE - LINE_END.len());
        debug_assert!(rest > 0, "an empty chunk would end the stream");
        self.0[start..SIZE_LINE].copy_from_slice(LINE_END);
        while rest > 0 {
            start -= 1;
            self.0[start] = b"0123456789abcdef"[rest % 16];
            rest /= 16;
        }
        self.0.extend_from_slice(LINE_END);
        start
    }
}

/// A finished payload with its frame.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    framed: Bytes,
    /// The offset of the payload.
    payload: u8,
}

impl Chunk {
    /// Returns the number of bytes, the frame included.
    pub(super) fn len(&self) -> usize {
        self.framed.len()
    }

    /// Returns the bytes in a framing, without a copy.
    pub(super) fn bytes(&self, framing: Framing) -> Bytes {
        self.framed.slice_ref(self.as_framed(framing))
    }

    /// Returns the bytes in a framing.
    pub(super) fn as_framed(&self, framing: Framing) -> &[u8] {
        match framing {
            Framing::Plain => &self.framed[usize::from(self.payload)..self.framed.len() - LINE_END.len()],
            Framing::Chunked => &self.framed,
        }
    }
}

impl From<ChunkBuffer> for Chunk {
    /// The payload must not be empty.
    fn from(mut buffer: ChunkBuffer) -> Chunk {
        let start = buffer.close();
        let mut framed = Bytes::from(buffer.0);
        framed.advance(start);
        Chunk { framed, payload: (SIZE_LINE - start) as u8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_its_size_in_hexadecimal_and_its_payload() {
        for (size, line) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0xabc, "abc\r\n"), (1 << 20, "100000\r\n")] {
            let payload = vec![b'x'; size];
            let framed = [line.as_bytes(), &payload, b"\r\n"].concat();
            let mut buffer = ChunkBuffer::default();
            buffer.payload().extend_from_slice(&payload);
            assert_eq!(buffer.len(), size);
            assert_eq!(buffer.take(Framing::Plain), payload);
            buffer.payload().extend_from_slice(&payload);
            assert_eq!(buffer.take(Framing::Chunked), framed);
            assert!(buffer.is_empty());

            buffer.payload().extend_from_slice(&payload);
            let chunk = Chunk::from(buffer);
            assert_eq!((chunk.bytes(Framing::Plain), chunk.bytes(Framing::Chunked)), (payload.into(), framed.into()));
        }
    }
}
