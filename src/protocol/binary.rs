//! The binary codec: a preface, then frames of a length (u32, little endian) and a bincode 2 value.
//!
//! This is the only file that uses bincode. The length is checked against [`FRAME_MAX`] before anything is allocated,
//! every decode has bincode's own limit, and a value must use its whole frame. Strings borrow from the frame, so the
//! length of a string allocates nothing; the length of a list allocates at most a megabyte.
//!
//! bincode is positional: adding or removing a field changes the meaning of all bytes after it. The types of a
//! [`Version`] are therefore frozen, in separate modules. A new variant can be added at the end of the requests or
//! replies; any other change needs a new version. The preface contains the version of a connection.
//!
//! A preface of an unknown version is [answered](refuse_version) with one frame that all versions can read: reply
//! variant 8 of version 1, with a code, a message and the number of a request.

use bincode::{config, error::DecodeError};
use serde::{Deserialize, Serialize};

#[cfg(feature = "client")]
use super::request::Publish;
#[cfg(feature = "bus")]
use super::{consumer::Delivery, reply::EventMessage};
use super::{
    error::{ErrorCode, Refused},
    reply::Reply,
    request::Request,
    wire::{v1, v2},
};
#[cfg(feature = "bus")]
use crate::event::Event;
use crate::limits::FRAME_MAX;

/// The start of every preface: a NUL, with which no JSON line and no HTTP request starts, and a magic number.
const MARK: [u8; 5] = *b"\0SSEB";

/// The first bytes that a client sends: a magic number and [its version](Version::CURRENT).
pub const PREFACE: [u8; 6] = Version::CURRENT.preface();

/// Bytes of the length prefix of a frame.
pub const PREFIX: usize = 4;

/// A version of the binary protocol. The daemon supports all versions, the client the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Version {
    /// The first version: events without headers.
    V1,
    /// Events with headers; the daemon's status and configuration can gain fields.
    V2,
}

impl Version {
    /// The version of the client.
    pub const CURRENT: Version = Version::V2;
    /// All versions.
    pub const ALL: [Version; 2] = [Version::V1, Version::V2];

    /// Returns the preface of this version.
    pub const fn preface(self) -> [u8; 6] {
        let [nul, s, s2, e, b] = MARK;
        [nul, s, s2, e, b, self as u8 + 1]
    }

    /// Returns the version of a preface.
    ///
    /// # Errors
    ///
    /// Returns the refusal to [send](refuse_version) if the version is unknown.
    pub fn of(preface: [u8; 6]) -> Result<Version, Refused> {
        Version::ALL.into_iter().find(|version| version.preface() == preface).ok_or_else(|| {
            let message = if preface.starts_with(&MARK) {
                let asked = preface[5];
                format!(
                    "this daemon supports versions 1 and 2 of the binary protocol, not {asked}; use a client and a daemon of \
                     the same release"
                )
            } else {
                "the first byte is that of the binary protocol, but the preface is invalid; send a NUL, `SSEB` and the \
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
    /// Returns the size of the frame if it exceeds [`FRAME_MAX`]; `out` is then unchanged.
    pub fn encode<T: Message>(self, message: &T, out: &mut Vec<u8>) -> Result<(), usize> {
        message.encode(self, out)
    }

    /// Decodes the request or reply at the start of a buffer.
    pub fn decode<T: Message>(self, buffer: &[u8]) -> Frame<T> {
        T::decode(self, buffer)
    }

    /// Appends the request to publish an event, without owning the event.
    #[cfg(feature = "client")]
    pub(crate) fn encode_publish(self, publish: &Publish, out: &mut Vec<u8>) -> Result<(), usize> {
        match self {
            Version::V1 => encode_value(&v1::Request::Publish(publish.into()), out),
            Version::V2 => encode_value(&v2::Request::publish(publish), out),
        }
    }

    /// Appends a delivery as a reply, without owning the event. Version 1, which has no frame for it, owns it.
    #[cfg(feature = "bus")]
    pub(crate) fn encode_delivery(self, event: &Event, delivery: &Delivery, out: &mut Vec<u8>) -> Result<(), usize> {
        match self {
            Version::V1 => {
                let message = EventMessage { delivery: Some(delivery.clone()), ..event.into() };
                self.encode(&Reply::Event(message), out)
            }
            Version::V2 => encode_value(&v2::Reply::Delivery(event.into(), delivery.into()), out),
        }
    }

    /// Appends an event as a reply, without owning the event.
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

    /// Appends a request for a responder. Version 1, in which no client can be a responder, has no requests.
    #[cfg(feature = "bus")]
    pub(crate) fn encode_request(
        self,
        event: &Event,
        reply_to: &str,
        timeout_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), usize> {
        match self {
            Version::V1 => Ok(()),
            Version::V2 => encode_value(&v2::Reply::Request(v2::Event::live(event), reply_to, timeout_ms), out),
        }
    }
}

/// Appends a message as one frame of the current version. See [`Version::encode`].
///
/// # Errors
///
/// Returns the size of the frame if it exceeds [`FRAME_MAX`]; `out` is then unchanged.
pub fn encode<T: Message>(message: &T, out: &mut Vec<u8>) -> Result<(), usize> {
    Version::CURRENT.encode(message, out)
}

/// Decodes a message of the current version at the start of a buffer. See [`Version::decode`].
pub fn decode<T: Message>(buffer: &[u8]) -> Frame<T> {
    Version::CURRENT.decode(buffer)
}

/// Appends the refusal of a preface, in the form that clients of all versions can read.
pub fn refuse_version(refused: &Refused, out: &mut Vec<u8>) {
    // The message of a refusal is bounded, so it fits a frame.
    let _ = encode_value(&v1::Reply::Error(refused.into()), out);
}

/// The content of a frame: a [`Request`] or a [`Reply`].
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

/// The result of decoding the start of a buffer.
#[derive(Debug)]
pub enum Frame<T> {
    /// The frame is incomplete; it needs this many bytes in total.
    Partial(usize),
    /// A value, and the bytes of its frame.
    Whole(T, usize),
    /// The bytes are not a frame of this protocol. The bytes after it cannot be trusted.
    Bad(String),
    /// The length exceeds [`FRAME_MAX`].
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
        Ok((_, used)) => Frame::Bad(format!("the frame has {size} bytes, but its value only {used}")),
        Err(DecodeError::OtherString(text)) => Frame::Bad(text),
        Err(e) => Frame::Bad(format!("the frame cannot be decoded: {e:?}")),
    }
}

/// Decodes with a limit that depends on the size of the frame: eight times its size, because bincode counts a number of
/// one byte as eight. The limit is a const parameter, so it has three steps.
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
