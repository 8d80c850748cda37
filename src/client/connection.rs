//! The two halves of a connection: a reader that decodes frames and a writer that encodes them.
//!
//! Both are cancel-safe: bytes leave a buffer only after they were decoded or written. The read buffer is bounded by
//! one frame ([`FRAME_MAX`](crate::limits::FRAME_MAX)) and one read; a [full](Writer::is_full) write buffer must be
//! written before more is added.

use std::{io, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time,
};

use super::error::Error;
use crate::{
    endpoint::{Endpoint, Stream, is_mount_point},
    protocol::{
        Publish, Refused, Reply, Request,
        binary::{self, Frame, Version},
        json,
    },
    socket_owner,
};

#[cfg(unix)]
type ReadHalf = tokio::net::unix::OwnedReadHalf;
#[cfg(unix)]
type WriteHalf = tokio::net::unix::OwnedWriteHalf;
#[cfg(windows)]
type ReadHalf = tokio::io::ReadHalf<Stream>;
#[cfg(windows)]
type WriteHalf = tokio::io::WriteHalf<Stream>;

/// Buffered bytes at which the writer is full.
const WRITE_FULL: usize = 64 << 10;
/// Bytes requested by one read.
const READ_SIZE: usize = 64 << 10;
/// How long to read after a failed write, for an error message of the daemon.
const LAST_REPLIES: Duration = Duration::from_secs(1);
/// Maximum number of attempts to connect while the daemon's queue of new connections is full. The waits double from 1
/// ms, 4 s in total.
const CONNECT_TRIES: u32 = 12;

/// Connects, and returns the endpoint at which the daemon was found. The preface is in the write buffer, and not sent yet.
pub(super) async fn open(endpoint: &Endpoint) -> Result<(Endpoint, Reader, Writer), Error> {
    let (began, mut tries) = (time::Instant::now(), 0);
    let (located, stream) = loop {
        match endpoint.locate().await {
            Ok(found) => break found,
            // On Linux a non-blocking connect fails if the listener's queue is full.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && tries < CONNECT_TRIES => {
                time::sleep(Duration::from_millis(1 << tries)).await;
                tries += 1;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(Error::Unresponsive { address: endpoint.into(), after: began.elapsed() });
            }
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Err(Error::Denied(endpoint.denial(&e))),
            Err(source) => return Err(no_daemon(endpoint, source)),
        }
    };
    let (read, write) = halves(stream);
    let reader = Reader { half: read, buffer: BytesMut::new() };
    let buffer = binary::PREFACE.to_vec();
    Ok((located, reader, Writer { half: Some(write), half_closes: false, buffer, written: 0, requests: 0 }))
}

/// Distinguishes a daemon whose socket file was removed or replaced from one that does not run.
fn no_daemon(endpoint: &Endpoint, source: io::Error) -> Error {
    let path = std::path::absolute(endpoint.path()).unwrap_or_else(|_| endpoint.path().to_owned());
    let is_missing = matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
    let daemon = is_missing.then(|| socket_owner::of_local_socket(&path)).flatten();
    let endpoint = endpoint.clone();
    match daemon {
        // Any other process is a service manager, which does not bind the socket again.
        Some(daemon) if daemon.name.starts_with("sse-busd") => Error::SocketRemoved { endpoint, daemon },
        _ if source.kind() == io::ErrorKind::ConnectionRefused && is_mount_point(&path) => {
            Error::SocketMounted { endpoint }
        }
        _ => Error::NoDaemon { endpoint, source },
    }
}

#[cfg(unix)]
fn halves(stream: Stream) -> (ReadHalf, WriteHalf) {
    stream.into_split()
}

#[cfg(windows)]
fn halves(stream: Stream) -> (ReadHalf, WriteHalf) {
    tokio::io::split(stream)
}

/// The half that receives replies.
#[derive(Debug)]
pub(super) struct Reader {
    half: ReadHalf,
    buffer: BytesMut,
}

impl Reader {
    /// Returns the next reply, or [`Error::Disconnected`] at the end of the connection.
    pub(super) async fn reply(&mut self) -> Result<Reply, Error> {
        loop {
            let needed = match binary::decode(&self.buffer) {
                Frame::Whole(reply, used) => {
                    self.buffer.advance(used);
                    return Ok(reply);
                }
                Frame::Partial(needed) => needed,
                Frame::Bad(what) => return Err(Error::Protocol(what)),
                Frame::TooLong(size) => {
                    let what = refused_in_json(&self.buffer);
                    let what = what
                        .map_or_else(|| format!("the length of a frame is {size} bytes"), |refused| refused.message);
                    return Err(Error::Protocol(what));
                }
            };
            self.buffer.reserve(READ_SIZE.max(needed - self.buffer.len()));
            match self.half.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(Error::closed()),
                Ok(_) => {}
                Err(e) => return Err(broken(e)),
            }
        }
    }

    /// Replaces the error of a failed write with the refusal that the daemon sent before it closed, if any.
    pub(super) async fn explain(&mut self, error: Error) -> Error {
        let refusal = async {
            loop {
                match self.reply().await {
                    Ok(Reply::Error(refused)) => return Error::refused(refused),
                    Ok(_) => {}
                    Err(_) => return error,
                }
            }
        };
        match time::timeout(LAST_REPLIES, refusal).await {
            Ok(error) => error,
            Err(_) => Error::closed(),
        }
    }
}

/// The half that sends requests.
#[derive(Debug)]
pub(super) struct Writer {
    /// Present until the writer is dropped.
    half: Option<WriteHalf>,
    /// Dropping the writer closes its direction of the connection while the reader stays open.
    pub(super) half_closes: bool,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were written.
    written: usize,
    /// The number of requests so far, which is also the number of the last one.
    requests: u64,
}

impl Writer {
    /// Buffers a request and returns its number.
    pub(super) fn push(&mut self, request: &Request) -> Result<u64, Error> {
        let encoded = binary::encode(request, &mut self.buffer);
        self.count(encoded)
    }

    /// Buffers a publish and returns its number.
    pub(super) fn push_publish(&mut self, publish: &Publish) -> Result<u64, Error> {
        let encoded = Version::CURRENT.encode_publish(publish, &mut self.buffer);
        self.count(encoded)
    }

    fn count(&mut self, encoded: Result<(), usize>) -> Result<u64, Error> {
        encoded.map_err(|bytes| Error::TooLarge { bytes })?;
        self.requests += 1;
        Ok(self.requests)
    }

    /// Returns the number of requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// Returns true if nothing is buffered.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Returns true if the buffer must be written before more is added.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() - self.written >= WRITE_FULL
    }

    /// Discards the buffer after a failed write.
    pub(super) fn discard(&mut self) {
        self.buffer.clear();
        self.written = 0;
    }

    /// Writes as much as the socket accepts at once.
    pub(super) async fn write(&mut self) -> Result<(), Error> {
        let Some(half) = &mut self.half else { return Err(Error::closed()) };
        match half.write(&self.buffer[self.written..]).await {
            Ok(0) => return Err(broken(io::ErrorKind::WriteZero.into())),
            Ok(n) => self.written += n,
            Err(e) => return Err(broken(e)),
        }
        if self.written == self.buffer.len() {
            self.buffer.clear();
            self.written = 0;
        } else if self.written >= WRITE_FULL {
            self.buffer.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// Writes everything that is buffered.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        while !self.is_empty() {
            self.write().await?;
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // tokio's half shuts down its direction before the socket is closed. The daemon could process the shutdown
        // first, and treat a client that disconnects as one that only stops sending.
        #[cfg(unix)]
        if !self.half_closes
            && let Some(half) = self.half.take()
        {
            half.forget();
        }
    }
}

fn broken(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Error::closed(),
        _ => Error::Disconnected(error),
    }
}

/// Decodes the refusal of a daemon that supports version 1 only: it answers other versions with a JSON line.
fn refused_in_json(buffer: &[u8]) -> Option<Refused> {
    let line = buffer.split(|byte| *byte == b'\n').next()?;
    match json::decode(line) {
        Ok(Reply::Error(refused)) => Some(refused),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_borrowed_publish_is_encoded_like_an_owned_one() {
        let publish = Publish { ttl_ms: Some(7), ..Publish::new("a/b", "data").retained().with_header("a", "b") };
        for version in Version::ALL {
            let (mut borrowed, mut owned) = (Vec::new(), Vec::new());
            version.encode_publish(&publish, &mut borrowed).unwrap();
            version.encode(&Request::Publish(publish.clone()), &mut owned).unwrap();
            assert_eq!(borrowed, owned, "{version:?}");
        }
    }
}
