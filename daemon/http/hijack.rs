//! Taking a socket out of hyper: how a stream on plain HTTP/1.1 gets from its handler to the [fan-out](crate::fanout).
//!
//! Each connection carries a [`Takeover`] in the extensions of its requests. A handler that wants the socket gives it
//! the subscriber and the head of its answer, and never answers; the task of the connection takes hyper apart and hands
//! the socket on. Go calls this a hijack.

use std::{
    future::pending,
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::{HeaderMap, Version};
use bytes::Bytes;
use sse_bus::bus::Framing;
use tokio::sync::oneshot;

use crate::shared_bus::Member;

/// A stream that is ready to be handed to the fan-out.
pub(super) struct Handover {
    pub(super) member: Member,
    pub(super) framing: Framing,
    pub(super) head: Bytes,
}

/// The way out of hyper for one connection.
#[derive(Clone)]
pub(super) struct Takeover(Arc<Mutex<Option<oneshot::Sender<Handover>>>>);

impl Takeover {
    /// A way out, and where it leads.
    pub(super) fn new() -> (Takeover, oneshot::Receiver<Handover>) {
        let (sender, receiver) = oneshot::channel();
        (Takeover(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    /// Asks for the socket, to answer 200 with these headers and go on from there. Never returns: the connection's task
    /// drops the request. Clients of HTTP/1.0 know no chunks: their stream ends with the connection.
    pub(super) async fn answer<T>(&self, version: Version, headers: &HeaderMap, member: Member, first: &[u8]) -> T {
        let (framing, coding) = match version {
            Version::HTTP_10 => (Framing::Plain, ""),
            _ => (Framing::Chunked, "transfer-encoding: chunked\r\n"),
        };
        let mut head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{coding}").into_bytes();
        for (name, value) in headers {
            head.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(&framing.frame(first));
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            // Where nobody receives it the connection has ended, and so has the subscriber.
            let _ = sender.send(Handover { member, framing, head: head.into() });
        }
        pending().await
    }
}
