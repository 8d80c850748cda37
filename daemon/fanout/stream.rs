//! One stream: its socket, and what the socket has not taken yet. When the socket is full, [`Stream::turn`] keeps the bytes
//! that were read, at most about `DELIVER_MAX`, and returns [`Next::Full`]: the stream leaves its shared cursor, continues once
//! the socket can be written to, and is closed if that accepts nothing for [`WRITE_STALL`].

use std::{
    io::{self, IoSlice},
    mem,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Buf, Bytes};
use socket2::SockRef;
use sse_bus::{
    bus::{Bus, Framing, Now, Read, SharedCursorId},
    limits::WRITE_STALL,
};
use tokio::net::TcpStream;

use super::mailbox::{NewStream, StreamWaker};
use crate::{client_guard::ClientGuard, connection_limits::ConnectionPermit};

/// A stream, as its shard holds it.
pub(super) struct Stream {
    /// First, so that the client has left the bus before its socket closes.
    client: ClientGuard,
    socket: TcpStream,
    _permit: ConnectionPermit,
    pub(super) waker: Arc<StreamWaker>,
    /// The shared cursor of the stream while it has received everything.
    pub(super) shared: Option<SharedCursorId>,
    /// The same waker, as the bus and the socket take it.
    task_waker: Waker,
    /// Read from the bus and not yet taken by the socket. Allocated only while the socket is full.
    waiting: Vec<Bytes>,
    /// Since when the socket has taken nothing of it.
    full_since: Option<Instant>,
    remaining: Remaining,
    framing: Framing,
}

/// What the bus has for a stream after the bytes that were read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Remaining {
    /// Nothing; the bus wakes the stream when there is more.
    Nothing,
    /// More that is not in memory; the bus wakes the stream when it is here.
    Fetched,
    /// Perhaps something.
    More,
    /// Nothing ever: the stream has ended.
    Ended,
}

/// What a stream needs after its turn.
#[derive(Clone, Copy)]
pub(super) enum Next {
    /// Nothing; it will be woken.
    Wait,
    /// The same, and it has not received everything yet.
    Fetch,
    /// Another turn at once.
    Again,
    /// The socket is full.
    Full,
    Close(&'static str),
}

impl Stream {
    pub(super) fn new(new: NewStream, waker: Arc<StreamWaker>, shared: Option<SharedCursorId>) -> Stream {
        let NewStream { socket, permit, client, framing, head } = new;
        let task_waker = Waker::from(waker.clone());
        let waiting = vec![head];
        Stream {
            client,
            socket,
            _permit: permit,
            waker,
            shared,
            task_waker,
            waiting,
            full_since: None,
            remaining: Remaining::More,
            framing,
        }
    }

    /// Reads the next bytes from the bus, unless earlier bytes still wait for the socket.
    pub(super) fn read(&mut self, bus: &mut Bus, now: Now, found: &mut Vec<Bytes>) {
        // Before reading: everything new from now on wakes the stream again.
        self.waker.is_queued.store(false, Ordering::Release);
        if self.remaining == Remaining::Ended {
            return;
        }
        self.remaining = if self.waiting.is_empty() {
            match bus.read(self.client.id, now, &self.task_waker, found) {
                Read::Ready => Remaining::More,
                Read::Waiting => Remaining::Nothing,
                Read::Fetching => Remaining::Fetched,
                Read::Ended => {
                    found.extend(self.framing.end());
                    Remaining::Ended
                }
            }
        } else {
            // It was woken for bytes that it cannot take yet.
            Remaining::More
        };
    }

    /// Returns true if the socket has been full for too long.
    pub(super) fn is_stalled(&self) -> bool {
        self.full_since.is_some_and(|since| since.elapsed() >= WRITE_STALL)
    }

    /// Returns the socket, if no bytes wait for it.
    pub(super) fn free_socket(&self) -> Option<SockRef<'_>> {
        self.waiting.is_empty().then(|| SockRef::from(&self.socket))
    }

    /// Writes bytes that the socket has not taken.
    pub(super) fn write_rest(&mut self, bytes: Bytes) -> Next {
        self.waiting.push(bytes);
        self.turn(&mut Vec::new())
    }

    /// Ends a stream that has received everything, because the daemon stops.
    pub(super) fn end(&mut self) -> Next {
        self.remaining = Remaining::Ended;
        self.framing.end().map_or(Next::Close("the daemon stops"), |end| self.write_rest(end))
    }

    /// Checks the peer, and writes the bytes that wait, or else those that were read.
    pub(super) fn turn(&mut self, found: &mut Vec<Bytes>) -> Next {
        let mut cx = Context::from_waker(&self.task_waker);
        if let Poll::Ready(gone) = poll_peer(&self.socket, &mut cx) {
            return Next::Close(gone);
        }
        // Bytes that were read are stored in the stream only while the socket is full.
        let fresh = self.waiting.is_empty();
        if fresh {
            mem::swap(&mut self.waiting, found);
        }
        loop {
            match write(&self.socket, &mut self.waiting) {
                Ok(()) => break,
                Err(Stopped { some, error }) if error.kind() == io::ErrorKind::WouldBlock => {
                    if some || self.full_since.is_none() {
                        self.full_since = Some(Instant::now());
                    }
                    if self.socket.poll_write_ready(&mut cx).is_pending() {
                        // It leaves its shared cursor, or cannot take the bytes that it was woken for.
                        self.remaining = self.remaining.max(Remaining::More);
                        return Next::Full;
                    }
                }
                Err(_) => return Next::Close("the peer has reset the connection"),
            }
        }
        if fresh {
            mem::swap(&mut self.waiting, found);
        } else {
            self.waiting = Vec::new();
        }
        self.full_since = None;
        match self.remaining {
            Remaining::Nothing => Next::Wait,
            Remaining::Fetched => Next::Fetch,
            Remaining::More => Next::Again,
            Remaining::Ended => Next::Close("the bus has ended the stream"),
        }
    }
}

/// Discards bytes that the peer sends. Returns the reason if it has closed the connection.
fn poll_peer(socket: &TcpStream, cx: &mut Context<'_>) -> Poll<&'static str> {
    let mut scratch = [0; 1024];
    for _ in 0..16 {
        if socket.poll_read_ready(cx).is_pending() {
            return Poll::Pending;
        }
        match socket.try_read(&mut scratch) {
            Ok(0) => return Poll::Ready("the peer has closed the connection"),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Poll::Ready("the peer has reset the connection"),
        }
    }
    // The peer keeps sending; other streams have their turn first.
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// A write that did not write everything: whether it wrote any byte, and the error that stopped it.
struct Stopped {
    some: bool,
    error: io::Error,
}

/// Writes as much as the socket takes and keeps the rest in `bytes`.
fn write(socket: &TcpStream, bytes: &mut Vec<Bytes>) -> Result<(), Stopped> {
    const AT_ONCE: usize = 64;
    let mut done = 0;
    let mut some = false;
    while let [first, rest @ ..] = &mut bytes[done..] {
        let written = if rest.is_empty() {
            socket.try_write(first)
        } else {
            let mut slices = [IoSlice::new(&[]); AT_ONCE];
            let all = bytes[done..].iter().zip(&mut slices).map(|(bytes, slice)| *slice = IoSlice::new(bytes)).count();
            socket.try_write_vectored(&slices[..all])
        };
        match written {
            Ok(mut written) => {
                some |= written > 0;
                while let Some(bytes) = bytes.get_mut(done).filter(|_| written > 0) {
                    let taken = written.min(bytes.len());
                    bytes.advance(taken);
                    written -= taken;
                    done += usize::from(bytes.is_empty());
                }
            }
            Err(error) => {
                bytes.drain(..done);
                return Err(Stopped { some, error });
            }
        }
    }
    bytes.clear();
    Ok(())
}
