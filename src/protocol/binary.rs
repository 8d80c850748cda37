//! The binary codec: a preface, then frames of a length (u32, little endian) and a bincode 2 value.
//!
//! All of bincode lives here. The length is checked against [`FRAME_MAX`] before anything is allocated, every
//! decode runs under bincode's own limit, and a frame must be used up to its last byte. Texts are read where they stand, so
//! a text's length makes no room for anything; the length of a list makes room for a megabyte at most.
//!
//! bincode is positional: a field more or less changes everything behind it. So the types of a [`Version`] are frozen, in
//! modules of their own. What is new is a new kind, at the end of the requests or the replies, or it needs a new version. The
//! preface says which version a connection speaks.
//!
//! A preface of an unknown version is [answered](refuse_version) with one frame that every version reads: the kind 8 of a
//! reply, a code, a message, and the number of a request, as version 1 has them.

use bincode::{config, error::DecodeError};
use serde::{Deserialize, Serialize};

#[cfg(feature = "client")]
use super::Publish;
use super::{
    ErrorCode, Refused, Reply, Request,
    wire::{v1, v2},
};
#[cfg(feature = "bus")]
use crate::event::Event;
use crate::limits::FRAME_MAX;

/// What every preface begins with: a NUL, which no JSON line and no HTTP request begins with, and a mark.
const MARK: [u8; 5] = *b"\0SSEB";

/// What a client sends first: a mark, and [the version](Version::CURRENT) that it speaks.
pub const PREFACE: [u8; 6] = Version::CURRENT.preface();

/// Bytes of a frame's length prefix.
pub const PREFIX: usize = 4;

/// A version of the protocol. The daemon speaks all of them, the client the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Version {
    /// The first: events without headers.
    V1,
    /// Events with headers; the daemon's status and configuration can grow.
    V2,
}

impl Version {
    /// The version that the client speaks.
    pub const CURRENT: Version = Version::V2;
    /// All of them.
    pub const ALL: [Version; 2] = [Version::V1, Version::V2];

    /// The preface of a connection that speaks this version.
    pub const fn preface(self) -> [u8; 6] {
        let [nul, s, s2, e, b] = MARK;
        [nul, s, s2, e, b, self as u8 + 1]
    }

    /// The version that a preface names.
    ///
    /// # Errors
    ///
    /// Returns the refusal to [send](refuse_version) if it is none of these.
    pub fn of(preface: [u8; 6]) -> Result<Version, Refused> {
        Version::ALL.into_iter().find(|version| version.preface() == preface).ok_or_else(|| {
            let message = if preface.starts_with(&MARK) {
                let asked = preface[5];
                format!(
                    "this daemon speaks versions 1 and 2 of the binary protocol, not {asked}; use a client and a daemon of \
                     the same release"
                )
            } else {
                "the first byte is that of the binary protocol, but no preface follows; begin with a NUL, `SSEB` and the \
                 version"
                    .into()
            };
            Refused::new(ErrorCode::RequestInvalid, message)
        })
    }

    /// Appends a request or a reply as one frame.
    ///
    /// # Errors
    ///
    /// Returns the frame's size if it is larger than [`FRAME_MAX`]; `out` is then as it was.
    pub fn encode<T: Message>(self, message: &T, out: &mut Vec<u8>) -> Result<(), usize> {
        message.encode(self, out)
    }

    /// Decodes the request or the reply at the front of a buffer.
    pub fn decode<T: Message>(self, buffer: &[u8]) -> Frame<T> {
        T::decode(self, buffer)
    }

    /// Appends the request to publish an event, without owning it.
    #[cfg(feature = "client")]
    pub(crate) fn encode_publish(self, publish: &Publish, out: &mut Vec<u8>) -> Result<(), usize> {
        match self {
            Version::V1 => encode_value(&v1::Request::Publish(publish.into()), out),
            Version::V2 => encode_value(&v2::Request::Publish(publish.into()), out),
        }
    }

    /// Appends an event as a subscriber receives it, without owning it.
    #[cfg(feature = "bus")]
    pub(crate) fn encode_event(self, event: &Event, out: &mut Vec<u8>) -> Result<(), usize> {
        match self {
            Version::V1 => encode_value(&v1::Reply::Event(event.into()), out),
            Version::V2 => encode_value(&v2::Reply::Event(event.into()), out),
        }
    }

    /// Appends an event that is live only. It has no id; version 1 has the event's there, which is the position of the log.
    #[cfg(feature = "bus")]
    pub(crate) fn encode_live_event(self, event: &Event, out: &mut Vec<u8>) -> Result<(), usize> {
        match self {
            Version::V1 => self.encode_event(event, out),
            Version::V2 => encode_value(&v2::Reply::Event(v2::Event::live(event)), out),
        }
    }
}

/// Appends a message as one frame of the current version. See [`Version::encode`].
///
/// # Errors
///
/// Returns the frame's size if it is larger than [`FRAME_MAX`]; `out` is then as it was.
pub fn encode<T: Message>(message: &T, out: &mut Vec<u8>) -> Result<(), usize> {
    Version::CURRENT.encode(message, out)
}

/// Decodes the message at the front of a buffer, of the current version. See [`Version::decode`].
pub fn decode<T: Message>(buffer: &[u8]) -> Frame<T> {
    Version::CURRENT.decode(buffer)
}

/// Appends the refusal of a preface, as a client of any version reads it.
pub fn refuse_version(refused: &Refused, out: &mut Vec<u8>) {
    // A refusal's message is bounded, so it fits.
    let _ = encode_value(&v1::Reply::Error(refused.into()), out);
}

/// What a frame holds: a [`Request`] or a [`Reply`].
pub trait Message: Sized {
    /// See [`Version::encode`].
    #[doc(hidden)]
    fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), usize>;
    /// See [`Version::decode`].
    #[doc(hidden)]
    fn decode(version: Version, buffer: &[u8]) -> Frame<Self>;
}

impl Message for Request {
    fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), usize> {
        match version {
            Version::V1 => encode_value(&v1::Request::from(self), out),
            Version::V2 => encode_value(&v2::Request::from(self), out),
        }
    }

    fn decode(version: Version, buffer: &[u8]) -> Frame<Request> {
        match version {
            Version::V1 => decode_value::<v1::Request<'_>>(buffer).map(Request::from),
            Version::V2 => decode_value::<v2::Request<'_>>(buffer).map(Request::from),
        }
    }
}

impl Message for Reply {
    fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), usize> {
        match version {
            Version::V1 => encode_value(&v1::Reply::from(self), out),
            Version::V2 => encode_value(&v2::Reply::from(self), out),
        }
    }

    fn decode(version: Version, buffer: &[u8]) -> Frame<Reply> {
        match version {
            Version::V1 => decode_value::<v1::Reply<'_>>(buffer).map(Reply::from),
            Version::V2 => decode_value::<v2::Reply<'_>>(buffer).map(Reply::from),
        }
    }
}

/// What the front of a buffer holds.
#[derive(Debug)]
pub enum Frame<T> {
    /// Not a whole frame yet; this many bytes are needed in all.
    Partial(usize),
    /// A value and the bytes that it took.
    Whole(T, usize),
    /// No frame of this protocol. Nothing that follows can be trusted.
    Bad(String),
    /// A length beyond [`FRAME_MAX`].
    TooLong(usize),
}

impl<T> Frame<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Frame<U> {
        match self {
            Frame::Whole(value, used) => Frame::Whole(change(value), used),
            Frame::Partial(needed) => Frame::Partial(needed),
            Frame::Bad(why) => Frame::Bad(why),
            Frame::TooLong(size) => Frame::TooLong(size),
        }
    }
}

fn encode_value<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), usize> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    // Writing to a Vec fails only for types that bincode cannot express; the protocol has none.
    let written = bincode::serde::encode_into_std_write(value, out, config::standard());
    let size = out.len() - start - PREFIX;
    if written.is_err() || size > FRAME_MAX {
        out.truncate(start);
        return Err(size);
    }
    out[start..start + PREFIX].copy_from_slice(&(size as u32).to_le_bytes());
    Ok(())
}

fn decode_value<'a, T: Deserialize<'a>>(buffer: &'a [u8]) -> Frame<T> {
    let Some((prefix, rest)) = buffer.split_first_chunk::<PREFIX>() else { return Frame::Partial(PREFIX) };
    let size = u32::from_le_bytes(*prefix) as usize;
    if size > FRAME_MAX {
        return Frame::TooLong(size);
    }
    let Some(body) = rest.get(..size) else { return Frame::Partial(PREFIX + size) };
    match decode_body(body) {
        Ok((value, used)) if used == size => Frame::Whole(value, PREFIX + size),
        Ok((_, used)) => Frame::Bad(format!("the frame has {size} bytes, its value {used}")),
        Err(DecodeError::OtherString(text)) => Frame::Bad(text),
        Err(e) => Frame::Bad(format!("the frame does not decode: {e:?}")),
    }
}

/// Decodes under a limit that every value meets which fits a frame of this size: a number of one byte counts as eight. The
/// limit is part of a type, so it goes in steps.
fn decode_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<(T, usize), DecodeError> {
    const SMALL: usize = 4 << 10;
    const MEDIUM: usize = 128 << 10;
    if body.len() <= SMALL {
        decode_within::<T, { 8 * SMALL }>(body)
    } else if body.len() <= MEDIUM {
        decode_within::<T, { 8 * MEDIUM }>(body)
    } else {
        decode_within::<T, { 8 * FRAME_MAX }>(body)
    }
}

fn decode_within<'a, T: Deserialize<'a>, const LIMIT: usize>(body: &'a [u8]) -> Result<(T, usize), DecodeError> {
    bincode::serde::borrow_decode_from_slice(body, config::standard().with_limit::<LIMIT>())
}
