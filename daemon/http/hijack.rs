//! Takes a socket out of hyper, which Go calls a hijack: a stream on plain HTTP/1.1 moves from its handler to the
//! [fan-out](crate::fanout), and a body that waits for long to the [task](super::waiting_body) of its connection, which notices
//! when the peer closes the connection.
//!
//! Each connection has a [`Takeover`] in the extensions of its requests. A handler that needs the socket passes it the
//! subscriber or the body, and the head of its response, and never responds. The task of the connection then takes hyper apart.

use std::{
    future::pending,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Body,
    http::{HeaderMap, Version},
};
use bytes::Bytes;
use sse_bus::bus::Framing;
use tokio::sync::oneshot;

use crate::client_guard::ClientGuard;

/// A response that is ready to be sent on the socket.
pub(super) struct Handover {
    pub(super) content: Content,
    pub(super) framing: Framing,
    pub(super) head: Bytes,
}

/// What follows the head of a response.
pub(super) enum Content {
    /// The stream of a subscriber, which the fan-out sends.
    Stream(ClientGuard),
    /// A body.
    Body(Body),
}

/// Takes the socket of one connection out of hyper.
#[derive(Clone)]
pub(super) struct Takeover(Arc<Mutex<Option<oneshot::Sender<Handover>>>>);

impl Takeover {
    /// Returns the handler's end and the connection's end.
    pub(super) fn new() -> (Takeover, oneshot::Receiver<Handover>) {
        let (sender, receiver) = oneshot::channel();
        (Takeover(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    /// Takes the socket, to send a 200 with these headers, and then the content after some first bytes. Never returns: the
    /// connection's task drops the request. HTTP/1.0 has no chunks: such a response ends with the connection.
    pub(super) async fn respond<T>(&self, version: Version, headers: &HeaderMap, content: Content, first: &[u8]) -> T {
        let (framing, coding) = match version {
            Version::HTTP_10 => (Framing::Plain, ""),
            _ => (Framing::Chunked, "transfer-encoding: chunked\r\n"),
        };
        let mut head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{coding}").into_bytes();
        for (name, value) in headers {
            head.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        head.extend_from_slice(b"\r\n");
        if !first.is_empty() {
            head.extend_from_slice(&framing.frame(first));
        }
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            // If it is not received, the connection has ended, and the content with it.
            let _ = sender.send(Handover { content, framing, head: head.into() });
        }
        pending().await
    }
}
