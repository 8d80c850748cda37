//! Fan-out: the sockets of streams on plain HTTP/1.1, written to without a task, a timer or a buffer for each.
//!
//! **Who owns a socket when.** hyper reads the request; the guards and the handler let it through; then the
//! `http::takeover` takes the socket out of hyper and hands it, with the head of the answer and the
//! subscriber, to one of a few *shards*. From there to its end the socket is that shard's alone. A shard is one task, so
//! nothing in it is locked but the list of the streams that have something to do.
//!
//! **Together.** Streams of one feed that have everything are a [group](sse_bus::bus::Bus::called_groups) of the bus.
//! The shard is called once for all of them, reads once what comes next, and gives it to each socket in one call: a
//! [round](multicast). That is all a delivery costs while nobody is slow. Heartbeats are rounds, too.
//!
//! **Alone.** A stream that has something of its own to do is called by its own waker, which it has given to the bus
//! (there is something to read for it alone) and to the socket (it can be written to again; the peer has closed or sent
//! something). Called streams queue up once; the shard goes through the queue, reads the bus for some of them under one
//! lock, and writes what each socket takes in one call.
//!
//! **Full.** What a socket does not take waits in the stream, about one read of the bus
//! ([`DELIVER_MAX`](sse_bus::limits::DELIVER_MAX)) at most; the rest stays in feed and history. The stream leaves its
//! group and waits until the socket can be written to. One that takes nothing for
//! [`WRITE_STALL`](sse_bus::limits::WRITE_STALL) is closed, and one whose client was kicked within [`STALL_CHECK`].
//!
//! **Closed.** A peer that closes, resets or half-closes is noticed by the read side at once; bytes that it sends are
//! thrown away. **Over** (kicked, too slow, the past delivered): the last chunk is sent, which tells this end from a broken
//! connection, then the socket is closed.
//!
//! **The daemon stops.** Each stream is ended as soon as it has all that the bus has; those whose sockets are full have
//! until the daemon's own deadline.
//!
//! **Framed.** All bytes of a stream come from the bus with the frames of HTTP/1.1 chunks, or without for a client of
//! HTTP/1.0. A shard has a reader of the bus for each.

mod multicast;
mod stream;
mod streams;

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Wake,
    time::Instant,
};

use bytes::Bytes;
use sse_bus::{
    bus::{ClientId, Framing},
    limits::STALL_CHECK,
};
use tokio::{
    net::TcpStream,
    sync::{Notify, oneshot},
    task::yield_now,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::streams::Streams;
use crate::{
    connection_limits::Place,
    shared_bus::{Member, SharedBus},
};

/// Streams that are read for under one lock and served before other tasks of the thread have their turn, at most.
const TURN: usize = 64;

/// A stream on its way to its shard.
pub(crate) struct Arrival {
    pub(crate) socket: TcpStream,
    /// The place that the connection takes, given back when it is closed.
    pub(crate) place: Place,
    pub(crate) member: Member,
    pub(crate) framing: Framing,
    /// What is sent before the first event, framed.
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

    /// Ends once every shard has gone through what it has to do, and could have gone on.
    #[cfg_attr(windows, expect(dead_code, reason = "there is no watchdog"))]
    pub(crate) async fn come_round(&self) {
        for shard in &self.shards {
            let (asked, answer) = oneshot::channel();
            shard.queue().asked.push(asked);
            shard.wake.notify_one();
            // One that has ended with the daemon owes no answer.
            let _ = answer.await;
        }
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
    /// Who wants to know that the shard comes round.
    asked: Vec<oneshot::Sender<()>>,
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

async fn run(shard: Arc<Shard>, bus: SharedBus, stop: CancellationToken) {
    let mut streams = Streams::new(bus, shard.clone());
    let (mut called, mut turn, mut behind) = (Vec::new(), Vec::new(), VecDeque::<ClientId>::new());
    let (mut checked, mut served) = (Instant::now(), 0);
    loop {
        // With full sockets there is a deadline to keep, else nothing to wake up for.
        let is_idle = behind.is_empty() && streams.groups.is_empty() && streams.rounds.is_empty();
        let (no_stream, none_full) = (streams.by_client.is_empty(), streams.full.is_empty());
        let call = async {
            match (is_idle, none_full) {
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
        let (arrivals, asked) = {
            let mut queue = shard.queue();
            mem::swap(&mut called, &mut queue.ready);
            queue.is_closed = streams.stopping && streams.by_client.is_empty() && queue.arrivals.is_empty();
            let asked = mem::take(&mut queue.asked);
            if queue.is_closed {
                return;
            }
            (mem::take(&mut queue.arrivals), asked)
        };
        called.extend(arrivals.into_iter().map(|arrival| streams.insert(arrival)));
        // Turns alternate between groups, those called just now, and those that have waited, so that an event does not
        // wait until a large group has another, or all of a storm have come or gone; and nobody waits for ever.
        rest(&mut served, streams.go_on_with_rounds()).await;
        if !called.is_empty() {
            let (first, others) = called.split_at(called.len().min(TURN));
            streams.take_turn(first);
            rest(&mut served, first.len()).await;
            behind.extend(others);
            called.clear();
        }
        if !behind.is_empty() {
            turn.extend(behind.drain(..behind.len().min(TURN)));
            streams.take_turn(&turn);
            rest(&mut served, turn.len()).await;
            turn.clear();
        }
        for asked in asked {
            // Nobody waits for it any more where it fails.
            let _ = asked.send(());
        }
        if checked.elapsed() >= STALL_CHECK {
            streams.close_full();
            checked = Instant::now();
        }
    }
}

/// Lets other tasks have their turn, and sockets be looked at, after some streams were served. Not after each: it wakes
/// other threads, and costs as much as some deliveries.
async fn rest(served: &mut usize, more: usize) {
    *served += more;
    if *served >= TURN / 4 {
        *served = 0;
        yield_now().await;
    }
}

#[cfg(test)]
mod tests;
