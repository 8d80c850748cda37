//! The binary codec: a preface, then frames of a length (u32, little endian) and a bincode 2 value.
//!
//! All of bincode lives here. The length is checked against [`FRAME_MAX`] before anything is allocated, every
//! decode runs under bincode's own limit, and a frame must be used up to its last byte. A text's length within a frame makes
//! room for a megabyte at most, and for more only if an eighth of a megabyte was sent.

use bincode::{config, error::DecodeError};
use serde::{Serialize, de::DeserializeOwned};

use crate::limits::FRAME_MAX;

/// What a client sends first: a NUL, which no JSON line and no HTTP request begins with, a mark, and the version.
pub const PREFACE: [u8; 6] = *b"\0SSEB\x01";

/// Bytes of a frame's length prefix.
pub const PREFIX: usize = 4;

/// Appends a value as one frame.
///
/// # Errors
///
/// Gives the frame's size if it is larger than [`FRAME_MAX`]; `out` is then as it was.
pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), usize> {
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

/// Decodes the frame at the front of `buffer`.
pub fn decode<T: DeserializeOwned>(buffer: &[u8]) -> Frame<T> {
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
fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<(T, usize), DecodeError> {
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

fn decode_within<T: DeserializeOwned, const LIMIT: usize>(body: &[u8]) -> Result<(T, usize), DecodeError> {
    bincode::serde::decode_from_slice(body, config::standard().with_limit::<LIMIT>())
}
