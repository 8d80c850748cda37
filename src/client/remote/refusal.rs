//! Refusals in the responses of the daemon.

use serde::Deserialize;

use crate::{
    client::error::Error,
    protocol::{ErrorCode, Refused, json},
};

/// The body of a refusal, or the comment of a stream that is refused with status 200.
#[derive(Deserialize)]
struct Refusal {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    code: ErrorCode,
    message: String,
}

/// Decodes a refusal, if it is one.
pub(super) fn decode(text: &[u8]) -> Option<Error> {
    let Refusal { error: Reason { code, message } } = json::decode(text).ok()?;
    Some(Error::refused(Refused::new(code, message)))
}
