//! The language that a connection to the local socket speaks, by its first byte.

use std::io;

use bytes::{Buf as _, BytesMut};
use sse_bus::{
    endpoint::Stream,
    limits::FIRST_BYTE,
    protocol::{
        ErrorCode, Refused,
        binary::{self, Version},
        json,
    },
};
use tokio::{io::AsyncReadExt as _, time::timeout};

/// What a connection begins with.
pub(super) enum Language {
    Binary(Version),
    Json,
    Http,
    /// The connection ended, or was silent for too long.
    Nothing,
    /// A version of the binary protocol that is not supported, or no preface behind its first byte.
    UnknownVersion(Refused),
    Unknown(Refused),
}

/// Reads the first bytes of a connection. The preface of the binary protocol is removed from them.
pub(super) async fn detect(stream: &mut Stream, read: &mut BytesMut) -> io::Result<Language> {
    let preface = timeout(FIRST_BYTE, async {
        while !is_determined(read) {
            if stream.read_buf(read).await? == 0 {
                return Ok(false);
            }
        }
        io::Result::Ok(true)
    });
    if !preface.await.unwrap_or(Ok(false))? {
        return Ok(Language::Nothing);
    }
    Ok(match read[0] {
        b'{' => Language::Json,
        b'A'..=b'Z' => Language::Http,
        0 => {
            let mut preface = binary::PREFACE;
            read.copy_to_slice(&mut preface);
            Version::of(preface).map_or_else(Language::UnknownVersion, Language::Binary)
        }
        _ => Language::Unknown(Refused::new(
            ErrorCode::RequestInvalid,
            "begin with a JSON object on one line, an HTTP request, or the binary preface",
        )),
    })
}

/// Skips a byte order mark. Returns true if the bytes behind it determine the language: one byte is enough, except for the
/// binary protocol, which needs its whole preface.
fn is_determined(read: &mut BytesMut) -> bool {
    if read.starts_with(json::BOM) {
        read.advance(json::BOM.len());
    }
    match read.first() {
        Some(0) => read.len() >= binary::PREFACE.len(),
        Some(_) => !json::BOM.starts_with(read),
        None => false,
    }
}
