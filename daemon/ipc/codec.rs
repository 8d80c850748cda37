//! The binary protocol and JSON lines behind one interface: take the next request off a buffer, append a reply.

use bytes::{Buf, BytesMut};
use sse_bus::{
    EventId,
    bus::Format,
    limits::{FRAME_MAX, LINE_MAX, Limits},
    protocol::{
        ErrorCode, Published, Refused, Reply, Request,
        binary::{self, Frame, Version},
        json,
    },
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Binary(Version),
    Json,
}

/// The front of a buffer.
pub(super) enum Next {
    Request(Request),
    /// A request that cannot be read. Later requests can.
    Refused(Refused),
    /// Bytes after which nothing can be read.
    Broken(Refused),
    /// A part of a request, and a number of bytes that would make progress.
    Partial(usize),
    /// The front of a request that is too long, which the caller must skip.
    Overlong(Skip, Refused),
}

/// The rest of a request that was refused before it was complete.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    Nothing,
    /// Everything up to the next line break.
    Line,
    Bytes(usize),
}

impl Skip {
    /// Drops the part of it in the buffer. Returns true if that was all.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> bool {
        let have = buffer.len();
        let (dropped, rest) = match *self {
            Skip::Nothing => (0, Skip::Nothing),
            Skip::Line => memchr::memchr(b'\n', buffer).map_or((have, Skip::Line), |end| (end + 1, Skip::Nothing)),
            Skip::Bytes(bytes) if bytes > have => (have, Skip::Bytes(bytes - have)),
            Skip::Bytes(bytes) => (bytes, Skip::Nothing),
        };
        buffer.advance(dropped);
        *self = rest;
        rest == Skip::Nothing
    }
}

impl Codec {
    /// Returns the format in which its subscribers receive events.
    pub(super) fn format(self) -> Format {
        match self {
            Codec::Binary(version) => Format::binary(version),
            Codec::Json => Format::Json,
        }
    }

    /// Takes the next request off the buffer. At the end of the input a last line may lack its line break.
    pub(super) fn next(self, buffer: &mut BytesMut, at_end: bool, limits: &Limits) -> Next {
        match self {
            Codec::Binary(version) => next_frame(version, buffer, limits.frame_bytes()),
            Codec::Json => next_line(buffer, at_end, limits.line_bytes()),
        }
    }

    /// Returns the bytes of the longest request, not counting escapes.
    pub(super) fn longest(self, limits: &Limits) -> usize {
        match self {
            Codec::Binary(_) => binary::PREFIX + limits.frame_bytes(),
            Codec::Json => limits.line_bytes(),
        }
    }

    /// Returns the reply to a publish. Version 1 has no reply without an id, and gets the position of the log instead.
    pub(super) fn published(self, mut published: Published, position: impl FnOnce() -> EventId) -> Published {
        if let Codec::Binary(Version::V1) = self {
            published.id.get_or_insert_with(position);
        }
        published
    }

    pub(super) fn reply(self, reply: &Reply, out: &mut Vec<u8>) {
        match self {
            Codec::Json => json::encode(reply, out),
            Codec::Binary(version) => {
                if let Err(size) = version.encode(reply, out) {
                    let message = format!("the reply has {size} bytes, a frame at most {FRAME_MAX}; use JSON lines");
                    // A refusal always fits.
                    let _ = version.encode(&Reply::Error(Refused::new(ErrorCode::LimitFrame, message)), out);
                }
            }
        }
    }
}

fn next_frame(version: Version, buffer: &mut BytesMut, most: usize) -> Next {
    match version.decode(buffer) {
        Frame::Whole(request, used) => {
            buffer.advance(used);
            Next::Request(request)
        }
        Frame::Partial(size) if size > binary::PREFIX + most => {
            let message = format!(
                "the frame has {} bytes and is skipped, at most {most} are allowed with \
                 `event_bytes` as it is; publish less, or a reference to it",
                size - binary::PREFIX
            );
            Next::Overlong(Skip::Bytes(size), Refused::new(ErrorCode::LimitFrame, message))
        }
        Frame::Partial(size) => Next::Partial(size - buffer.len()),
        Frame::Bad(why) => Next::Broken(Refused::new(
            ErrorCode::RequestInvalid,
            format!("the frame cannot be read: {why}; the connection is closed"),
        )),
        Frame::TooLong(size) => Next::Broken(Refused::new(
            ErrorCode::LimitFrame,
            format!("the frame has {size} bytes, at most {FRAME_MAX} are allowed; the connection is closed"),
        )),
    }
}

/// Returns true if the front of a line is too long for a request, whatever follows.
fn is_overlong(line: &[u8], most: usize) -> bool {
    // The longest escape is `\u0001`, six bytes for one.
    let escapes = || memchr::memchr_iter(b'\\', line).count();
    line.len() > LINE_MAX || (line.len() > most && line.len() - 5 * escapes().min(line.len() / 6) > most)
}

fn next_line(buffer: &mut BytesMut, at_end: bool, most: usize) -> Next {
    let end = match memchr::memchr(b'\n', buffer) {
        Some(end) => end,
        None if is_overlong(buffer, most) => {
            let message = format!(
                "the line has more than {most} bytes, the most with `event_bytes` as it is, and is skipped; publish \
                     less, or a reference to it"
            );
            return Next::Overlong(Skip::Line, Refused::new(ErrorCode::LimitLine, message));
        }
        None if at_end && !buffer.is_empty() => buffer.len(),
        None => return Next::Partial(1),
    };
    let line = &buffer[..end];
    let next = match json::decode(line.strip_suffix(b"\r").unwrap_or(line)) {
        Ok(request) => Next::Request(request),
        Err(why) => Next::Refused(Refused::new(ErrorCode::RequestInvalid, format!("the line cannot be read: {why}"))),
    };
    buffer.advance((end + 1).min(buffer.len()));
    next
}
