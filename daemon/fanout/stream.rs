//! One stream: its socket, and what the socket has not taken yet.

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
    bus::{Bus, Framing, GroupId, Now, Read},
    limits::WRITE_STALL,
};
use tokio::net::TcpStream;

use super::{Arrival, Call};
use crate::{connection_limits::Place, shared_bus::Member};

/// A stream, as its shard holds it.
pub(super) struct Stream {
    /// First, so that the client has left the bus before its socket closes.
    member: Member,
    socket: TcpStream,
    _place: Place,
    pub(super) call: Arc<Call>,
    /// The group in which it is while it has everything.
    pub(super) group: Option<GroupId>,
    waker: Waker,
    /// Read from the bus and not yet taken by the socket. Allocated only while the socket is full.
    waiting: Vec<Bytes>,
    /// Since when the socket has taken nothing of it.
    full_since: Option<Instant>,
    rest: Rest,
    framing: Framing,
}

/// What the bus has for a stream behind what was read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    /// Nothing; the bus calls the stream when there is.
    Nothing,
    /// Perhaps something.
    More,
    /// The stream is over.
    Over,
}

/// What becomes of a stream after its turn.
#[derive(Clone, Copy)]
pub(super) enum Next {
    /// Something will call it.
    Wait,
    /// It can go on at once.
    Again,
    /// The socket is full.
    Full,
    Close(&'static str),
}

impl Stream {
    pub(super) fn new(arrival: Arrival, call: Arc<Call>, group: Option<GroupId>) -> Stream {
        let Arrival { socket, place, member, framing, head } = arrival;
        let waker = Waker::from(call.clone());
        let waiting = vec![head];
        Stream {
            member,
            socket,
            _place: place,
            call,
            group,
            waker,
            waiting,
            full_since: None,
            rest: Rest::More,
            framing,
        }
    }

    /// Reads from the bus what comes next, unless the socket is still full of what came before.
    pub(super) fn read(&mut self, bus: &mut Bus, now: Now, found: &mut Vec<Bytes>) {
        // Before reading: whatever comes from now on calls the stream again.
        self.call.queued.store(false, Ordering::Release);
        if self.rest == Rest::Over {
            return;
        }
        self.rest = if self.waiting.is_empty() {
            match bus.read(self.member.id, now, &self.waker, found) {
                Read::Ready => Rest::More,
                Read::Waiting => Rest::Nothing,
                Read::Over => {
                    found.extend(self.framing.end());
                    Rest::Over
                }
            }
        } else {
            // It was called for something that it cannot take yet.
            Rest::More
        };
    }

    /// Whether the socket has been full for so long that the peer is given up.
    pub(super) fn is_stalled(&self) -> bool {
        self.full_since.is_some_and(|since| since.elapsed() >= WRITE_STALL)
    }

    /// The socket, if nothing waits for it.
    pub(super) fn free_socket(&self) -> Option<SockRef<'_>> {
        self.waiting.is_empty().then(|| SockRef::from(&self.socket))
    }

    /// Goes on with what the socket has not taken.
    pub(super) fn rest(&mut self, bytes: Bytes) -> Next {
        self.waiting.push(bytes);
        self.turn(&mut Vec::new())
    }

    /// Ends a stream that has everything, as the daemon stops.
    pub(super) fn end(&mut self) -> Next {
        self.rest = Rest::Over;
        self.framing.end().map_or(Next::Close("the daemon stops"), |end| self.rest(end))
    }

    /// Looks at the peer and writes what waits, or else what was found.
    pub(super) fn turn(&mut self, found: &mut Vec<Bytes>) -> Next {
        let mut cx = Context::from_waker(&self.waker);
        if let Poll::Ready(gone) = poll_peer(&self.socket, &mut cx) {
            return Next::Close(gone);
        }
        // What was found has no place of its own unless the socket is full.
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
                        // It has left its group then, or cannot take what it is called for.
                        self.rest = self.rest.max(Rest::More);
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
        match self.rest {
            Rest::Nothing => Next::Wait,
            Rest::More => Next::Again,
            Rest::Over => Next::Close("the bus has ended the stream"),
        }
    }
}

/// Throws away what the peer sends, and tells when it has gone.
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
    // It sends and sends; others have their turn first.
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// A write that did not write everything: whether it wrote some of it, and what stopped it.
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
