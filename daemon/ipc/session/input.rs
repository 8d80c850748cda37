//! Reading from the peer of a connection, and noticing its end.

use std::io;

use bytes::{BufMut as _, BytesMut};
use sse_bus::{endpoint::Stream, limits::READ_MAX};
use tokio::io::AsyncReadExt as _;

#[cfg(unix)]
use crate::ipc::hangup::{hangup, is_closed};

/// What the peer may still send.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    Open,
    /// Nothing: it has closed its sending half only.
    HalfClosed,
    /// Nothing: it has closed both halves at the same time, as a process that ends does.
    Closed,
}

impl Input {
    /// Returns what the peer may still send after it has ended its input.
    pub(super) fn after_end(stream: &Stream) -> Input {
        if is_closed(stream) { Input::Closed } else { Input::HalfClosed }
    }
}

/// Reads bytes, and returns their number. After the end of the input, or while no more input is read, waits until the peer has
/// closed the other half, too, and returns None.
pub(super) async fn incoming(
    stream: &mut Stream,
    buffer: &mut BytesMut,
    at_end: bool,
    is_held: bool,
) -> io::Result<Option<usize>> {
    if is_held && cfg!(windows) {
        // What ends a pipe is noticed at the next read.
        return std::future::pending().await;
    }
    if !at_end && !is_held {
        return stream.read_buf(&mut buffer.limit(READ_MAX)).await.map(Some);
    }
    hangup(stream).await;
    Ok(None)
}

/// A pipe has no halves: the end of the input is the end of the connection.
#[cfg(windows)]
fn is_closed(_: &Stream) -> bool {
    true
}

/// See [`is_closed`].
#[cfg(windows)]
#[expect(clippy::unused_async, reason = "the same interface as on Unix")]
async fn hangup(_: &Stream) {}
