//! Sends the waiting bytes and the events of a connection, until the peer accepts none for [`WRITE_STALL`].

use std::{io, mem, time::Instant};

use bytes::Bytes;
use sse_bus::limits::{READ_MAX, STALL_CHECK, WRITE_STALL};
use tokio::{io::AsyncWriteExt as _, time::timeout};

use super::Session;
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

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        let mut progress = Instant::now();
        while sent < bytes.len() {
            match timeout(STALL_CHECK, self.stream.write(&bytes[sent..])).await {
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
