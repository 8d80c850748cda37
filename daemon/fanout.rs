//! Fan-out: the sockets of streams on plain HTTP/1.1, written to without a task, a timer or a buffer for each.
//!
//! **Who owns a socket when.** hyper reads the request; the guards and the handler let it through; then the
//! [`takeover`](crate::http::takeover) takes the socket out of hyper and hands it, with the head of the answer and the
//! subscriber, to one of a few *shards*. From there to its end the socket is that shard's alone. A shard is one task, so
//! nothing in it is locked but the list of the streams that have something to do.
//!
//! **What wakes a stream.** One waker for each, given to the bus (there is something to read), to the socket (it can be
//! written to again) and to the socket (the peer has closed or sent something). Woken streams queue up once; the shard
//! goes through the queue, reads the bus for some of them under one lock, and writes what each socket takes in one call.
//!
//! **Full.** What a socket does not take waits in the stream, at most one read of the bus
//! ([`DELIVER_MAX`](sse_bus::limits::DELIVER_MAX)); the rest stays in feed and history. The stream waits until the
//! socket can be written to; one that takes nothing for [`WRITE_STALL`] is closed, and one whose client was kicked within
//! [`STALL_CHECK`].
//!
//! **Closed.** A peer that closes, resets or half-closes is noticed by the read side at once; bytes that it sends are
//! thrown away. **Over** (kicked, too slow): the socket is closed, which is how the stream ends.
//!
//! **The daemon stops.** Each stream is closed as soon as it has all that the bus has; those whose sockets are full have
//! until the daemon's own deadline.

use std::{
    collections::HashSet,
    io::{self, IoSlice},
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use bytes::{Buf, Bytes};
use slab::Slab;
use sse_bus::{
    bus::Read,
    limits::{STALL_CHECK, WRITE_STALL},
};
use tokio::{
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit},
    task::yield_now,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::shared::{Member, SharedBus};

/// Streams whose turn comes under one lock of the bus, before other tasks of the thread get theirs.
const TURN: usize = 64;

/// A stream on its way to its shard.
pub(crate) struct Arrival {
    pub(crate) socket: TcpStream,
    /// The place that the connection takes, given back when it is closed.
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) member: Member,
    /// What is sent before the first event.
    pub(crate) head: Bytes,
}

/// The shards.
pub(crate) struct Fanout {
    shards: Vec<Arc<Shard>>,
    next: AtomicUsize,
}

impl Fanout {
    /// As many shards as the machine runs at once.
    pub(crate) fn new() -> Fanout {
        let shards = std::thread::available_parallelism().map_or(1, Into::into);
        Fanout { shards: (0..shards).map(|_| Arc::default()).collect(), next: AtomicUsize::new(0) }
    }

    /// The tasks to spawn, one for each shard; each ends when the daemon stops and its streams have ended.
    pub(crate) fn tasks(&self, bus: &SharedBus, stop: &CancellationToken) -> Vec<impl Future<Output = ()> + use<>> {
        self.shards.iter().map(|shard| run(shard.clone(), bus.clone(), stop.clone())).collect()
    }

    /// Hands a stream to a shard.
    pub(crate) fn take(&self, arrival: Arrival) {
        let shard = &self.shards[self.next.fetch_add(1, Ordering::Relaxed) % self.shards.len()];
        let mut queue = shard.queue();
        if queue.is_closed {
            drop(queue);
            // Only now: the bus tells others of it, who may be this shard's.
            return drop(arrival);
        }
        queue.arrivals.push(arrival);
        drop(queue);
        shard.wake.notify_one();
    }
}

/// What others see of a shard.
#[derive(Default)]
struct Shard {
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    arrivals: Vec<Arrival>,
    /// Streams that have something to do, each once.
    ready: Vec<Place>,
    /// The shard has ended and takes no stream any more.
    is_closed: bool,
}

/// A stream's place in its shard. Keys are used again: the number tells a late call for a stream that is gone from one
/// for its successor.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    key: usize,
    number: u64,
}

impl Shard {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waker of one stream.
struct Call {
    shard: Arc<Shard>,
    place: Place,
    queued: AtomicBool,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let first = {
                let mut queue = self.shard.queue();
                queue.ready.push(self.place);
                queue.ready.len() == 1
            };
            if first {
                self.shard.wake.notify_one();
            }
        }
    }
}

/// A stream, as its shard holds it.
struct Stream {
    socket: TcpStream,
    _permit: OwnedSemaphorePermit,
    member: Member,
    call: Arc<Call>,
    waker: Waker,
    /// Read from the bus and not yet taken by the socket. Allocated only while the socket is full.
    waiting: Vec<Bytes>,
    /// Since when the socket has taken nothing of it.
    full_since: Option<Instant>,
    rest: Rest,
}

/// What the bus has for a stream behind what was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Nothing; the bus calls the stream when there is.
    Nothing,
    /// Perhaps something.
    More,
    /// The stream is over.
    Over,
}

/// What becomes of a stream after its turn.
enum Next {
    /// Something will call it.
    Wait,
    /// It can go on at once.
    Again,
    /// The socket is full.
    Full,
    Close(&'static str),
}

/// A shard's own side.
struct Streams {
    bus: SharedBus,
    shard: Arc<Shard>,
    by_key: Slab<Stream>,
    /// The number of the last stream.
    last: u64,
    /// Those whose socket is full.
    full: HashSet<usize>,
    /// The daemon stops: a stream that has nothing more to do is closed.
    stopping: bool,
    /// What one turn has read, in its order. Kept for its allocations.
    turn: Vec<Vec<Bytes>>,
}

async fn run(shard: Arc<Shard>, bus: SharedBus, stop: CancellationToken) {
    let mut streams = Streams::new(bus, shard.clone());
    let mut ready = Vec::new();
    let mut checked = Instant::now();
    loop {
        // With full sockets there is a deadline to keep, else nothing to wake up for.
        let (no_stream, none_full) = (streams.by_key.is_empty(), streams.full.is_empty());
        let called = async {
            if none_full {
                shard.wake.notified().await;
            } else {
                let _ = timeout(STALL_CHECK, shard.wake.notified()).await;
            }
        };
        if streams.stopping {
            // Without any stream nothing calls.
            if !no_stream {
                called.await;
            }
        } else if stop.run_until_cancelled(called).await.is_none() {
            streams.stop();
        }
        let arrivals = {
            let mut queue = shard.queue();
            mem::swap(&mut ready, &mut queue.ready);
            queue.is_closed = streams.stopping && streams.by_key.is_empty() && queue.arrivals.is_empty();
            if queue.is_closed {
                return;
            }
            mem::take(&mut queue.arrivals)
        };
        ready.extend(arrivals.into_iter().map(|arrival| streams.insert(arrival)));
        for turn in ready.chunks(TURN) {
            streams.take_turn(turn);
            yield_now().await;
        }
        ready.clear();
        if checked.elapsed() >= STALL_CHECK {
            streams.close_full();
            checked = Instant::now();
        }
    }
}

impl Streams {
    fn new(bus: SharedBus, shard: Arc<Shard>) -> Streams {
        Streams { bus, shard, by_key: Slab::new(), last: 0, full: HashSet::new(), stopping: false, turn: Vec::new() }
    }

    fn insert(&mut self, arrival: Arrival) -> Place {
        let Arrival { socket, permit, member, head } = arrival;
        let entry = self.by_key.vacant_entry();
        self.last += 1;
        let place = Place { key: entry.key(), number: self.last };
        let call = Arc::new(Call { shard: self.shard.clone(), place, queued: AtomicBool::new(true) });
        let waker = Waker::from(call.clone());
        let waiting = vec![head];
        entry.insert(Stream {
            socket,
            _permit: permit,
            member,
            call,
            waker,
            waiting,
            full_since: None,
            rest: Rest::More,
        });
        place
    }

    /// Lets some streams read and write once.
    fn take_turn(&mut self, places: &[Place]) {
        let mut turn = mem::take(&mut self.turn);
        if turn.len() < places.len() {
            turn.resize_with(places.len(), Default::default);
        }
        self.bus.with(|bus, now| {
            for (&place, found) in places.iter().zip(&mut turn) {
                let Some(stream) = find(&mut self.by_key, place) else { continue };
                // Before reading: whatever comes from now on calls it again.
                stream.call.queued.store(false, Ordering::Release);
                if !stream.waiting.is_empty() {
                    // It was called for something that it cannot take yet.
                    stream.rest = stream.rest.or_more();
                } else if stream.rest != Rest::Over {
                    stream.rest = match bus.read(stream.member.id, now, &stream.waker, found) {
                        Read::Ready => Rest::More,
                        Read::Waiting => Rest::Nothing,
                        Read::Over => Rest::Over,
                    };
                }
            }
        });
        for (&place, found) in places.iter().zip(&mut turn) {
            let Some(stream) = find(&mut self.by_key, place) else { continue };
            let key = place.key;
            match stream.turn(found) {
                Next::Wait if self.stopping => self.close(key, "the daemon stops"),
                Next::Wait => drop(self.full.remove(&key)),
                Next::Again => {
                    self.full.remove(&key);
                    stream.call.wake_by_ref();
                }
                Next::Full => drop(self.full.insert(key)),
                Next::Close(why) => self.close(key, why),
            }
            found.clear();
        }
        self.turn = turn;
    }

    fn close(&mut self, key: usize, why: &str) {
        self.full.remove(&key);
        if let Some(stream) = self.by_key.try_remove(key) {
            debug!(client = %stream.member.id, "closing the stream: {why}");
        }
    }

    /// Closes the full streams that are stalled, and those whose clients are gone: nothing else calls them.
    fn close_full(&mut self) {
        let removed = |key: &&usize| self.by_key.get(**key).is_some_and(|stream| stream.member.is_removed());
        for key in self.full.iter().filter(removed).copied().collect::<Vec<_>>() {
            self.close(key, "the bus has ended the stream");
        }
        let stalled = |key: &&usize| {
            let since = self.by_key.get(**key).and_then(|stream| stream.full_since);
            since.is_some_and(|since| since.elapsed() >= WRITE_STALL)
        };
        for key in self.full.iter().filter(stalled).copied().collect::<Vec<_>>() {
            if let Some(stream) = self.by_key.get(key) {
                stream.member.too_slow();
            }
            self.close(key, "the peer has taken nothing for too long");
        }
    }

    /// The daemon stops: what the bus still has is written, then the sockets are closed. Those that do not take it in
    /// time are cut with everything else.
    fn stop(&mut self) {
        self.stopping = true;
        self.by_key.iter().for_each(|(_, stream)| stream.call.wake_by_ref());
    }
}

/// The stream at a place, if it is still there.
fn find(by_key: &mut Slab<Stream>, place: Place) -> Option<&mut Stream> {
    by_key.get_mut(place.key).filter(|stream| stream.call.place == place)
}

impl Rest {
    fn or_more(self) -> Rest {
        if self == Rest::Over { Rest::Over } else { Rest::More }
    }
}

impl Stream {
    /// Looks at the peer and writes what waits, or else what was found.
    fn turn(&mut self, found: &mut Vec<Bytes>) -> Next {
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

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use sse_bus::{
        Epoch, FilterSet, Topic,
        bus::{Bus, Description, Format, Publication, Start, Subscription, history::Memory},
        limits::{Limits, Retention},
        protocol::Slow,
    };
    use tokio::{io::AsyncReadExt, net::TcpSocket, sync::Semaphore};

    use super::*;

    /// Events, each larger than one read of the bus and than what a socket here takes.
    const EVENTS: usize = 20;
    const SIZE: usize = 200_000;

    fn bus() -> SharedBus {
        let epoch = Epoch::parse("e").unwrap();
        SharedBus::new(Bus::new(epoch, Limits::default(), Box::new(Memory::new(Retention::default()))))
    }

    fn publish(bus: &SharedBus, data: String) {
        let topic = Topic::parse("t").unwrap();
        let publication = Publication { topic, kind: None, data, retain: false, ttl: None, to: None };
        bus.with(|bus, now| bus.publish(publication, None, now)).unwrap();
    }

    /// A stream for its shard, and the peer. Their sockets hold little.
    async fn arrival(bus: &SharedBus) -> (Arrival, TcpStream) {
        let sockets = [TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap()];
        let [ours, theirs] = sockets;
        ours.set_send_buffer_size(4096).unwrap();
        theirs.set_recv_buffer_size(4096).unwrap();
        ours.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = ours.listen(1).unwrap();
        let peer = theirs.connect(listener.local_addr().unwrap()).await.unwrap();
        let subscription = Subscription {
            filters: FilterSet::parse(&["t"]).unwrap(),
            format: Format::SseData,
            start: Start::Now,
            slow: Slow::Gap,
            past_only: false,
            description: Description::default(),
        };
        let arrival = Arrival {
            socket: listener.accept().await.unwrap().0,
            permit: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
            member: Member::subscriber(bus, subscription).unwrap().0,
            head: Bytes::from_static(b"head\n"),
        };
        (arrival, peer)
    }

    #[tokio::test]
    async fn a_late_call_for_a_stream_that_is_gone_costs_its_successor_nothing() {
        let (bus, shard) = (bus(), Arc::new(Shard::default()));
        let mut streams = Streams::new(bus.clone(), shard.clone());
        let (first, _gone) = arrival(&bus).await;
        let first = streams.insert(first);
        streams.close(first.key, "it is gone");
        let (second, mut peer) = arrival(&bus).await;
        let second = streams.insert(second);
        streams.take_turn(&[second]);

        for n in 0..EVENTS {
            publish(&bus, format!("{n:0>5}{}", "x".repeat(SIZE)));
        }
        // Somebody still held the waker of the first.
        Arc::new(Call { shard: shard.clone(), place: first, queued: AtomicBool::new(false) }).wake();
        let mut got = Vec::new();
        let last = format!("data: {:0>5}{}\n\n", EVENTS - 1, "x".repeat(SIZE));
        while !got.ends_with(last.as_bytes()) {
            let ready = mem::take(&mut shard.queue().ready);
            streams.take_turn(&ready);
            let next = async {
                tokio::select! {
                    read = peer.read_buf(&mut got) => assert!(read.unwrap() > 0, "it has ended"),
                    () = shard.wake.notified() => {}
                }
            };
            timeout(Duration::from_secs(5), next).await.expect("the stream goes on");
        }
        let numbers: Vec<usize> = String::from_utf8(got)
            .unwrap()
            .lines()
            .filter_map(|line| Some(line.strip_prefix("data: ")?[..5].parse().unwrap()))
            .collect();
        assert_eq!(numbers, (0..EVENTS).collect::<Vec<_>>());
    }
}
