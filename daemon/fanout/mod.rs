//! Fan-out: the sockets of streams on plain HTTP/1.1, written to without a task, a timer or a buffer for each.
//!
//! **Who owns a socket when.** hyper reads the request; the guards and the handler let it through; then the
//! `http::takeover` takes the socket out of hyper and hands it, with the head of the answer and the
//! subscriber, to one of a few *shards*. From there to its end the socket is that shard's alone. A shard is one task, so
//! nothing in it is locked but the list of the streams that have something to do.
//!
//! **Together.** Streams of one feed that have everything are a [group](sse_bus::bus::Bus::called_groups) of the bus. Its reader is the
//! shard, which is called once for all of them, reads what comes next once, and gives it to each socket in one call. That
//! is all a delivery costs while nobody is slow.
//!
//! **Alone.** A stream that has something of its own to do is called by its own waker, which it has given to the bus
//! (there is something to read for it alone), to the socket (it can be written to again) and to the socket (the peer has
//! closed or sent something). Called streams queue up once; the shard goes through the queue, reads the bus for some of
//! them under one lock, and writes what each socket takes in one call.
//!
//! **Full.** What a socket does not take waits in the stream, at most one read of the bus
//! ([`DELIVER_MAX`](sse_bus::limits::DELIVER_MAX)); the rest stays in feed and history. The stream leaves its group and
//! waits until the socket can be written to; one that takes nothing for [`WRITE_STALL`](sse_bus::limits::WRITE_STALL) is closed, and one
//! whose client was kicked within [`STALL_CHECK`].
//!
//! **Closed.** A peer that closes, resets or half-closes is noticed by the read side at once; bytes that it sends are
//! thrown away. **Over** (kicked, too slow): the socket is closed, which is how the stream ends.
//!
//! **The daemon stops.** Each stream is closed as soon as it has all that the bus has; those whose sockets are full have
//! until the daemon's own deadline.

mod stream;

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    time::Instant,
};

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use sse_bus::{
    bus::{ClientId, GroupId, ReaderId},
    limits::STALL_CHECK,
};
use tokio::{
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit},
    task::yield_now,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::stream::{Next, Stream};
use crate::shared::{Member, SharedBus};

/// Streams that are served before other tasks of the thread have their turn; and that are read for under one lock.
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
    ready: Vec<ClientId>,
    /// The shard has ended and takes no stream any more.
    is_closed: bool,
}

/// The bus has something for a group.
impl Wake for Shard {
    fn wake(self: Arc<Self>) {
        self.wake.notify_one();
    }
}

impl Shard {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waker of one stream.
struct Call {
    shard: Arc<Shard>,
    client: ClientId,
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
                queue.ready.push(self.client);
                queue.ready.len() == 1
            };
            if first {
                self.shard.wake.notify_one();
            }
        }
    }
}

/// A shard's own side.
struct Streams {
    bus: SharedBus,
    shard: Arc<Shard>,
    /// As the bus knows the shard.
    reader: ReaderId,
    /// By the ids of their clients, which are never given twice: a late call for a stream that is gone finds none.
    by_client: FxHashMap<ClientId, Stream>,
    /// Those whose socket is full.
    full: FxHashSet<ClientId>,
    /// The daemon stops: a stream that has nothing more to do is closed.
    stopping: bool,
    /// What one turn has read, in its order. Kept for its allocations.
    turn: Vec<Vec<Bytes>>,
    /// Groups that have something to read.
    groups: Vec<GroupId>,
}

/// What is read for a group, and who gets it.
#[derive(Default)]
struct Round {
    members: Vec<ClientId>,
    bytes: Bytes,
}

async fn run(shard: Arc<Shard>, bus: SharedBus, stop: CancellationToken) {
    let mut streams = Streams::new(bus, shard.clone());
    let (mut called, mut turn, mut behind) = (Vec::new(), Vec::new(), VecDeque::<ClientId>::new());
    let mut checked = Instant::now();
    loop {
        // With full sockets there is a deadline to keep, else nothing to wake up for.
        let (no_stream, none_full) = (streams.by_client.is_empty(), streams.full.is_empty());
        let none_behind = behind.is_empty() && streams.groups.is_empty();
        let call = async {
            match (none_behind, none_full) {
                (true, true) => shard.wake.notified().await,
                (true, false) => drop(timeout(STALL_CHECK, shard.wake.notified()).await),
                (false, _) => {}
            }
        };
        if streams.stopping {
            // Without any stream nothing calls.
            if !no_stream {
                call.await;
            }
        } else if stop.run_until_cancelled(call).await.is_none() {
            streams.stop();
        }
        let arrivals = {
            let mut queue = shard.queue();
            mem::swap(&mut called, &mut queue.ready);
            queue.is_closed = streams.stopping && streams.by_client.is_empty() && queue.arrivals.is_empty();
            if queue.is_closed {
                return;
            }
            mem::take(&mut queue.arrivals)
        };
        called.extend(arrivals.into_iter().map(|arrival| streams.insert(arrival)));
        for round in streams.read_groups() {
            // Until all have it, none of them reads for itself.
            for members in round.members.chunks(TURN) {
                streams.deliver(members, &round.bytes);
                yield_now().await;
            }
        }
        // Turns alternate between those called just now and those that have waited, so that an event does not wait
        // until all of a storm of others have come or gone, and nobody waits for ever.
        if !called.is_empty() {
            let (first, others) = called.split_at(called.len().min(TURN));
            streams.take_turn(first);
            behind.extend(others);
            called.clear();
            yield_now().await;
        }
        if !behind.is_empty() {
            turn.extend(behind.drain(..behind.len().min(TURN)));
            streams.take_turn(&turn);
            turn.clear();
            yield_now().await;
        }
        if checked.elapsed() >= STALL_CHECK {
            streams.close_full();
            checked = Instant::now();
        }
    }
}

impl Streams {
    fn new(bus: SharedBus, shard: Arc<Shard>) -> Streams {
        let reader = bus.with(|bus, _| bus.add_reader(Waker::from(shard.clone())));
        Streams {
            bus,
            shard,
            reader,
            by_client: FxHashMap::default(),
            full: FxHashSet::default(),
            stopping: false,
            turn: Vec::new(),
            groups: Vec::new(),
        }
    }

    fn insert(&mut self, arrival: Arrival) -> ClientId {
        let client = arrival.member.id;
        let call = Arc::new(Call { shard: self.shard.clone(), client, queued: AtomicBool::new(true) });
        self.bus.with(|bus, _| bus.assign(client, self.reader));
        self.by_client.insert(client, Stream::new(arrival, call));
        client
    }

    /// Reads for the groups that have something.
    fn read_groups(&mut self) -> Vec<Round> {
        let mut groups = mem::take(&mut self.groups);
        self.bus.with(|bus, _| {
            bus.called_groups(self.reader, &mut groups);
            let read = |group| {
                let (mut members, mut bytes) = (Vec::new(), Vec::new());
                if bus.read_group(group, &mut members, &mut bytes) {
                    self.groups.push(group);
                }
                let bytes = if bytes.len() == 1 { bytes.remove(0) } else { bytes.concat().into() };
                Round { members, bytes }
            };
            groups.into_iter().map(read).filter(|round| !round.bytes.is_empty()).collect()
        })
    }

    /// Gives members of a group what was read for them all.
    fn deliver(&mut self, members: &[ClientId], bytes: &Bytes) {
        // All sockets are found before the first is written to: each send would let the memory of the next grow cold,
        // while so many looks at once wait hardly longer than one.
        let streams = members.iter().filter_map(|client| Some((*client, self.by_client.get(client)?.socket())));
        let sockets: Vec<_> = streams.collect();
        // What tokio knows of a socket is not asked: it would be one more look, and nearly always the socket has room.
        let sent = sockets.into_iter().map(|(client, socket)| (client, socket.send(bytes).unwrap_or(0)));
        let short: Vec<_> = sent.filter(|(_, sent)| *sent < bytes.len()).collect();
        let mut full = Vec::new();
        for (client, sent) in short {
            let Some(stream) = self.by_client.get_mut(&client) else { continue };
            match stream.rest(bytes.slice(sent..)) {
                Next::Wait => {}
                Next::Close(why) => self.close(client, why),
                Next::Full | Next::Again => full.push(client),
            }
        }
        self.leave_groups(&full);
    }

    /// Streams whose sockets are full read for themselves, when they can.
    fn leave_groups(&mut self, full: &[ClientId]) {
        if !full.is_empty() {
            self.full.extend(full);
            self.bus.with(|bus, _| full.iter().for_each(|client| drop(bus.leave_group(*client))));
        }
    }

    /// Lets some streams read and write once.
    fn take_turn(&mut self, clients: &[ClientId]) {
        let mut turn = mem::take(&mut self.turn);
        if turn.len() < clients.len() {
            turn.resize_with(clients.len(), Default::default);
        }
        self.bus.with(|bus, now| {
            for (client, found) in clients.iter().zip(&mut turn) {
                let Some(stream) = self.by_client.get_mut(client) else { continue };
                stream.read(bus, now, found);
            }
        });
        let mut full = Vec::new();
        for (client, found) in clients.iter().zip(&mut turn) {
            let Some(stream) = self.by_client.get_mut(client) else { continue };
            match stream.turn(found) {
                Next::Wait if self.stopping => self.close(*client, "the daemon stops"),
                Next::Wait => drop(self.full.remove(client)),
                Next::Again => {
                    self.full.remove(client);
                    stream.call.wake_by_ref();
                }
                Next::Full => full.push(*client),
                Next::Close(why) => self.close(*client, why),
            }
            found.clear();
        }
        self.turn = turn;
        self.leave_groups(&full);
    }

    fn close(&mut self, client: ClientId, why: &str) {
        self.full.remove(&client);
        if self.by_client.remove(&client).is_some() {
            debug!(%client, "closing the stream: {why}");
        }
    }

    /// Closes the full streams that are stalled, and those whose clients are gone: nothing else calls them.
    fn close_full(&mut self) {
        let full = &self.full;
        let removed: Vec<_> =
            self.bus.with(|bus, _| full.iter().filter(|client| !bus.is_connected(**client)).copied().collect());
        for client in removed {
            self.close(client, "the bus has ended the stream");
        }
        let stalled = |client: &&ClientId| self.by_client.get(client).is_some_and(Stream::is_stalled);
        for client in self.full.iter().filter(stalled).copied().collect::<Vec<_>>() {
            self.bus.with(|bus, now| bus.disconnect_slow(client, now));
            self.close(client, "the peer has taken nothing for too long");
        }
    }

    /// The daemon stops: what the bus still has is written, then the sockets are closed. Those that do not take it in
    /// time are cut with everything else.
    fn stop(&mut self) {
        self.stopping = true;
        for stream in self.by_client.values() {
            stream.call.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests;
