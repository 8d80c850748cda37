//! The byte streams under HTTP: a peer that takes no byte for [`WRITE_STALL`] while bytes wait for it is cut, bytes that were
//! read to detect the protocol are read again, and bytes that a peer sends before it authenticates are charged.
//!
//! The head of the first request of such a peer is read here to its end, before hyper reads any of it: hyper examines
//! an unfinished head byte by byte, which takes ten times as long.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use sse_bus::limits::{HEAD_MAX, WRITE_STALL};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};
use tokio_util::io::poll_read_buf;

use crate::unauthenticated::Unauthenticated;

/// A connection with a prefix that is read first, and a deadline for peers that take no byte.
pub(crate) struct Connection<S> {
    prefix: Bytes,
    /// The beginning of a head that is read to its end first, and the number of its bytes that were examined.
    head: Option<(BytesMut, usize)>,
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
        Connection { prefix, head: None, stream, stall: None, charged: None }
    }

    /// Reads the head of the first request to its end, or up to the longest that is accepted, before any of it is returned.
    pub(crate) fn with_whole_head(self) -> Connection<S> {
        Connection { head: Some((BytesMut::from(self.prefix), 0)), prefix: Bytes::new(), ..self }
    }

    /// Returns a reference to the stream.
    pub(crate) fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Returns the stream. The unread part of the prefix is lost.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    /// Charges bytes that the peer has sent.
    fn charge(&mut self, received: usize) {
        if received > 0 && self.charged.as_ref().is_some_and(|charged| !charged.charge(received)) {
            self.charged = None;
        }
    }

    /// Reads the head, if it is not read yet, which then is the prefix.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        /// Bytes of the first read.
        const FIRST: usize = 4 << 10;
        let Some((mut head, mut examined)) = self.head.take() else { return Poll::Ready(Ok(())) };
        while !has_end(&head, examined) && head.len() < HEAD_MAX {
            // The bytes before may be the beginning of the end.
            examined = head.len().saturating_sub(END_MAX - 1);
            if head.len() == head.capacity() {
                head.reserve(FIRST);
            }
            match poll_read_buf(Pin::new(&mut self.stream), cx, &mut head) {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(Ok(received)) => self.charge(received),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.head = Some((head, examined));
                    return Poll::Pending;
                }
            }
        }
        self.prefix = head.freeze();
        Poll::Ready(Ok(()))
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

/// Maximum bytes of the end of a head.
const END_MAX: usize = 3;

/// Returns true if a head ends in the bytes from an offset on: with an empty line, whose line breaks may lack the CR.
fn has_end(head: &[u8], from: usize) -> bool {
    let rest = &head[from..];
    memchr::memchr_iter(b'\n', rest).any(|at| matches!(rest[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_head(cx))?;
        if self.prefix.is_empty() {
            let before = buf.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(cx, buf);
            self.charge(buf.filled().len() - before);
            return read;
        }
        let taken = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..taken]);
        self.prefix.advance(taken);
        if self.prefix.is_empty() {
            self.prefix = Bytes::new();
        }
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[test]
    fn the_end_of_a_head_is_an_empty_line() {
        for end in ["\r\n\r\n", "\n\n", "\n\r\n", "\r\n\n"] {
            let head = format!("GET / HTTP/1.1\r\na: b{end}");
            for cut in 0..head.len() {
                assert!(!has_end(&head.as_bytes()[..cut], 0), "{head:?} up to {cut}");
                let examined = cut.saturating_sub(END_MAX - 1);
                assert!(has_end(head.as_bytes(), examined), "{head:?} from {examined}");
            }
        }
    }

    #[tokio::test]
    async fn a_head_is_returned_when_it_has_ended_or_is_too_long() {
        let (mut peer, socket) = duplex(2 * HEAD_MAX);
        let mut connection = Connection::with_prefix(socket, Bytes::from_static(b"GET ")).with_whole_head();
        let mut read = BytesMut::new();
        peer.write_all(b"/ HTTP/1.1\r\nHost: x\r\n\r").await.unwrap();
        let unfinished =
            std::future::poll_fn(|cx| Poll::Ready(poll_read_buf(Pin::new(&mut connection), cx, &mut read)));
        assert!(unfinished.await.is_pending());
        peer.write_all(b"\nbody").await.unwrap();
        let whole = "GET / HTTP/1.1\r\nHost: x\r\n\r\nbody";
        while read.len() < whole.len() {
            assert!(connection.read_buf(&mut read).await.unwrap() > 0);
        }
        assert_eq!(read, whole);
        peer.write_all(b"\nnext").await.unwrap();
        connection.read_buf(&mut read).await.unwrap();
        assert!(read.ends_with(b"body\nnext"), "what follows is not examined: {read:?}");

        let (mut peer, socket) = duplex(2 * HEAD_MAX);
        let mut connection = Connection::new(socket).with_whole_head();
        peer.write_all(&vec![b'x'; HEAD_MAX]).await.unwrap();
        read.clear();
        while read.len() < HEAD_MAX {
            assert!(connection.read_buf(&mut read).await.unwrap() > 0);
        }
        drop(peer);
        assert_eq!(connection.read_buf(&mut read).await.unwrap(), 0);
    }
}
