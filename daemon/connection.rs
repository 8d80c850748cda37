//! The byte streams under HTTP: a peer that takes no byte for [`WRITE_STALL`] while bytes wait for it is cut, bytes that were
//! read to detect the protocol are read again, and bytes that a peer sends before it authenticates are charged.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use sse_bus::limits::WRITE_STALL;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use crate::unauthenticated::Unauthenticated;

/// A connection with a prefix that is read first, and a deadline for peers that take no byte.
pub(crate) struct Connection<S> {
    prefix: Bytes,
    stream: S,
    /// Runs while a write waits for the peer.
    stall: Option<Pin<Box<Sleep>>>,
    /// Charged with the bytes that are read, until the peer authenticates.
    charged: Option<Arc<Unauthenticated>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(stream: S) -> Connection<S> {
        Connection::with_prefix(stream, Bytes::new())
    }

    /// A connection whose peer has to authenticate, and is charged with the bytes that it sends.
    pub(crate) fn charged(stream: S, unauthenticated: Arc<Unauthenticated>) -> Connection<S> {
        Connection { charged: Some(unauthenticated), ..Connection::new(stream) }
    }

    /// A connection whose first bytes have been read.
    pub(crate) fn with_prefix(stream: S, prefix: Bytes) -> Connection<S> {
        Connection { prefix, stream, stall: None, charged: None }
    }

    /// Returns a reference to the stream.
    pub(crate) fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Returns the stream. The unread part of the prefix is lost.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    /// Passes on the result of a write, or an error if the peer has taken no byte for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(WRITE_STALL)));
        ready!(stall.as_mut().poll(cx));
        // Polled again, it fails again: the peer does not get another period.
        stall.as_mut().reset(Instant::now());
        let message = format!("the peer took no byte for {} s", WRITE_STALL.as_secs());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            let before = buf.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(cx, buf);
            let received = buf.filled().len() - before;
            if received > 0 && self.charged.as_ref().is_some_and(|charged| !charged.charge(received)) {
                self.charged = None;
            }
            return read;
        }
        let taken = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..taken]);
        self.prefix.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
