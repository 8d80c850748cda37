//! Sends the waiting bytes and the events of a connection, until the peer accepts none for [`WRITE_STALL`].

use std::{
    future::poll_fn,
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use sse_bus::limits::{READ_MAX, STALL_CHECK, WRITE_STALL};
use tokio::{io::AsyncWrite as _, time::timeout};
use tokio_util::io::poll_read_buf;

use super::{QUIET, Session, Subscribing};
use crate::client_guard::ClientGuard;

impl Session<'_> {
    /// Sends events. Small ones are sent together; a large one is not copied, since other subscribers may share it.
    pub(super) async fn send_events(&mut self, events: &mut Vec<Bytes>) -> io::Result<()> {
        const LARGE: usize = 4 << 10;
        for bytes in events.drain(..) {
            if bytes.len() < LARGE {
                self.out.extend_from_slice(&bytes);
            } else {
                self.send().await?;
                self.write(&bytes).await?;
            }
        }
        Ok(())
    }

    /// Sends the waiting bytes.
    pub(super) async fn send(&mut self) -> io::Result<()> {
        let mut out = mem::take(&mut self.out);
        self.write(&out).await?;
        // The larger buffer of a burst is not kept.
        out.clear();
        out.shrink_to(READ_MAX);
        self.out = out;
        Ok(())
    }

    /// Writes some bytes. While the peer takes none, reads requests of workers and responders, at most [`READ_MAX`] bytes: a peer
    /// that handles one event after the other reads the next one only once its answer to the last one is sent, which would
    /// otherwise wait for this write.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() {
            return written;
        }
        let answers = self.worker.is_some() || self.subscription == Subscribing::Requests;
        while answers && !self.at_end() && !self.is_held() && self.read.len() < READ_MAX {
            self.read.reserve(QUIET);
            let read = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.read))?;
            self.note_read(read);
        }
        Poll::Pending
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        let mut progress = Instant::now();
        while sent < bytes.len() {
            match timeout(STALL_CHECK, poll_fn(|cx| self.poll_write(cx, &bytes[sent..]))).await {
                Ok(written) => {
                    sent += match written? {
                        0 => return Err(io::ErrorKind::WriteZero.into()),
                        written => written,
                    };
                    progress = Instant::now();
                }
                Err(_) if progress.elapsed() >= WRITE_STALL => return Err(io::ErrorKind::TimedOut.into()),
                // The bus has removed the client: the rest is not sent.
                Err(_) if self.client().is_some_and(ClientGuard::is_removed) => {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                Err(_) => {}
            }
        }
        Ok(())
    }
}
