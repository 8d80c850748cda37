//! One connection: frames out of a read buffer, frames into a write buffer.
//!
//! Both are cancel-safe: bytes leave a buffer only when they were read or written. The read buffer holds at most one
//! frame beyond what one read brings ([`FRAME_MAX`](crate::limits::FRAME_MAX)); the write buffer is written out
//! before more is added once it is [full](Writer::is_full).

use std::{io, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time,
};

use super::Error;
use crate::{
    endpoint::{Endpoint, Stream},
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

/// Bytes that wait to be written before a sender has to write.
const WRITE_FULL: usize = 64 << 10;
/// Bytes that one read asks for.
const READ_SIZE: usize = 64 << 10;
/// How long a connection whose writing failed is read for the reason.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often connecting is tried while the daemon's queue of new connections is full; the waits double from 1 ms,
/// so 4 s in all.
const CONNECT_TRIES: u32 = 12;

/// Connects. The preface is in the write buffer, not sent yet.
pub(super) async fn open(endpoint: &Endpoint) -> Result<(Reader, Writer), Error> {
    let (began, mut tries) = (time::Instant::now(), 0);
    let stream = loop {
        match endpoint.connect().await {
            Ok(stream) => break stream,
            // Linux does not wait for room in the listener's queue when the socket is non-blocking.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && tries < CONNECT_TRIES => {
                time::sleep(Duration::from_millis(1 << tries)).await;
                tries += 1;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(Error::NoAnswer { endpoint: endpoint.clone(), after: began.elapsed() });
            }
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                return Err(Error::Denied(format!(
                    "{endpoint} belongs to another user; each user has a bus of their own"
                )));
            }
            Err(source) => return Err(no_daemon(endpoint, source)),
        }
    };
    let (read, write) = halves(stream);
    let reader = Reader { half: read, buffer: BytesMut::new() };
    let buffer = binary::PREFACE.to_vec();
    Ok((reader, Writer { half: Some(write), half_closes: false, buffer, written: 0, requests: 0 }))
}

/// Tells a daemon whose socket file is gone from one that does not run.
fn no_daemon(endpoint: &Endpoint, source: io::Error) -> Error {
    let path = std::path::absolute(endpoint.path()).unwrap_or_else(|_| endpoint.path().to_owned());
    let is_gone = matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
    let daemon = is_gone.then(|| socket_owner::of_local_socket(&path)).flatten();
    let endpoint = endpoint.clone();
    match daemon {
        // A service manager does not bind the socket again that it holds for the daemon.
        Some(daemon) if daemon.name.starts_with("sse-busd") => Error::SocketGone { endpoint, daemon },
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

/// The half that the daemon's replies come from.
#[derive(Debug)]
pub(super) struct Reader {
    half: ReadHalf,
    buffer: BytesMut,
}

impl Reader {
    /// The next reply. The end of the connection is [`Error::Disconnected`].
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
                    let what = what.map_or_else(|| format!("a frame claims {size} bytes"), |refused| refused.message);
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

    /// Turns a failed write into what the daemon said before it closed, if it said anything.
    pub(super) async fn explain(&mut self, error: Error) -> Error {
        let last_words = async {
            loop {
                match self.reply().await {
                    Ok(Reply::Error(refused)) => return Error::refused(refused),
                    Ok(_) => {}
                    Err(_) => return error,
                }
            }
        };
        match time::timeout(LAST_WORDS, last_words).await {
            Ok(error) => error,
            Err(_) => Error::closed(),
        }
    }
}

/// The half that takes requests.
#[derive(Debug)]
pub(super) struct Writer {
    /// Always there until the drop.
    half: Option<WriteHalf>,
    /// Whether dropping the writer closes its direction of the connection while the reader goes on.
    pub(super) half_closes: bool,
    buffer: Vec<u8>,
    /// How much of the buffer has been written.
    written: usize,
    /// Requests so far, which is also the last one's number.
    requests: u64,
}

impl Writer {
    /// Buffers a request and gives its number.
    pub(super) fn push(&mut self, request: &Request) -> Result<u64, Error> {
        let encoded = binary::encode(request, &mut self.buffer);
        self.count(encoded)
    }

    /// Buffers a publish and gives its number.
    pub(super) fn push_publish(&mut self, publish: &Publish) -> Result<u64, Error> {
        let encoded = Version::CURRENT.encode_publish(publish, &mut self.buffer);
        self.count(encoded)
    }

    fn count(&mut self, encoded: Result<(), usize>) -> Result<u64, Error> {
        encoded.map_err(|bytes| Error::TooLarge { bytes })?;
        self.requests += 1;
        Ok(self.requests)
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether what waits should be written before more is added.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() - self.written >= WRITE_FULL
    }

    /// Forgets what waits to be written, after writing failed.
    pub(super) fn abandon(&mut self) {
        self.buffer.clear();
        self.written = 0;
    }

    /// Writes as much as the socket takes in one call.
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

    /// Writes all that waits.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        while !self.is_empty() {
            self.write().await?;
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // tokio's half shuts its direction down before the socket is closed. The daemon could see the two apart, and
        // take a client that leaves for one that only has nothing more to say.
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

/// The refusal of a daemon that speaks version 1 of the protocol only: it answers any other with a JSON line.
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
    fn a_borrowed_publish_is_encoded_as_an_owned_one() {
        let publish = Publish { ttl_ms: Some(7), ..Publish::new("a/b", "data").retained().with_header("a", "b") };
        for version in Version::ALL {
            let (mut borrowed, mut owned) = (Vec::new(), Vec::new());
            version.encode_publish(&publish, &mut borrowed).unwrap();
            version.encode(&Request::Publish(publish.clone()), &mut owned).unwrap();
            assert_eq!(borrowed, owned, "{version:?}");
        }
    }
}
