//! The ids of requests, and the addresses for their replies.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    str::FromStr,
};

use crate::bus::ids::ClientId;

/// Identifies a request. It is never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(super) u64);

/// The address for the reply of one responder to one request, such as `12-c5-9e107d9d372bb682`. It cannot be guessed, so that
/// only the receiver of a request can reply to it, over any connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReplyAddress {
    pub(super) request: RequestId,
    pub(super) responder: ClientId,
    check: u64,
}

impl ReplyAddress {
    /// Returns the address. `secret` is the same for all addresses of a bus.
    pub(super) fn new(request: RequestId, responder: ClientId, secret: &RandomState) -> ReplyAddress {
        ReplyAddress { request, responder, check: secret.hash_one((request, responder)) }
    }
}

impl fmt::Display for ReplyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReplyAddress { request: RequestId(request), responder, check } = self;
        write!(f, "{request}-{responder}-{check:016x}")
    }
}

/// The text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAnAddress;

impl FromStr for ReplyAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<ReplyAddress, NotAnAddress> {
        let parse = || {
            let mut parts = text.splitn(3, '-');
            let request = RequestId(parts.next()?.parse().ok()?);
            let responder = parts.next()?.parse().ok()?;
            let check = u64::from_str_radix(parts.next()?, 16).ok()?;
            // Only the canonical form is an address.
            Some(ReplyAddress { request, responder, check }).filter(|address| address.to_string() == text)
        };
        parse().ok_or(NotAnAddress)
    }
}
