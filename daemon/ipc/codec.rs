//! The two ways of speaking to the local socket, as one: take the next request off a buffer, append a reply.

use bytes::{Buf, BytesMut};
use sse_bus::{
    bus::Format,
    limits::{FRAME_MAX, LINE_MAX},
    protocol::{
        ErrorCode, Refused, Reply, Request,
        binary::{self, Frame},
        json,
    },
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Binary,
    Json,
}

/// What is at the front of a buffer.
pub(super) enum Next {
    Request(Request),
    /// A request that cannot be read. The ones behind it can.
    Refused(Refused),
    /// Nothing that follows can be read.
    Broken(Refused),
    /// Not a whole request; so many bytes more would help.
    Partial(usize),
    /// The front of a line that is too long, dropped; what follows up to the next line break belongs to it.
    Overlong,
}

impl Codec {
    /// The name of this way in, for descriptions of clients.
    pub(super) fn name(self) -> &'static str {
        self.format().via()
    }

    /// The format in which its subscribers get events.
    pub(super) fn format(self) -> Format {
        match self {
            Codec::Binary => Format::Binary,
            Codec::Json => Format::Json,
        }
    }

    /// Takes the next request off the buffer. At the end of the input a last line may lack its line break.
    pub(super) fn next(self, buffer: &mut BytesMut, at_end: bool) -> Next {
        match self {
            Codec::Binary => next_frame(buffer),
            Codec::Json => next_line(buffer, at_end),
        }
    }

    pub(super) fn reply(self, reply: &Reply, out: &mut Vec<u8>) {
        match self {
            Codec::Json => json::encode(reply, out),
            Codec::Binary => {
                if let Err(size) = binary::encode(reply, out) {
                    let message =
                        format!("the answer has {size} bytes, a frame at most {FRAME_MAX}; ask in JSON lines");
                    // A refusal fits.
                    let _ = binary::encode(&Reply::Error(Refused::new(ErrorCode::LimitFrame, message)), out);
                }
            }
        }
    }
}

fn next_frame(buffer: &mut BytesMut) -> Next {
    match binary::decode(buffer) {
        Frame::Whole(request, used) => {
            buffer.advance(used);
            Next::Request(request)
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

fn next_line(buffer: &mut BytesMut, at_end: bool) -> Next {
    let end = match memchr::memchr(b'\n', buffer) {
        Some(end) => end,
        None if buffer.len() > LINE_MAX => {
            buffer.clear();
            return Next::Overlong;
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

/// The answer to an overlong line.
pub(super) fn overlong() -> Refused {
    let message =
        format!("the line has more than {LINE_MAX} bytes and was skipped; publish less, or a reference to it");
    Refused::new(ErrorCode::LimitLine, message)
}
