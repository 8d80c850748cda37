//! Fan-out: writes the streams of plain HTTP/1.1 to their sockets, without a task, a timer or a buffer for each.
//!
//! **Ownership.** hyper reads the request; the guards and the handler let it through; then the `http::hijack` takes the socket
//! out of hyper and passes it, with the head of the response and the subscriber, to one of a few *shards*. From then on the
//! socket belongs to that shard alone. A shard is one task, so nothing in it is locked but its [mailbox].
//!
//! **Together.** Streams of one feed that have received everything use one [shared cursor](sse_bus::bus::Bus::called_cursors)
//! of the bus. The shard is woken once for all of them, reads the next bytes once, and writes them to each socket in one call:
//! a [multicast]. That is the whole cost of a delivery while no socket is full. Heartbeats are multicasts, too.
//!
//! **Alone.** A stream with work of its own is woken by its own waker, which it has given to the bus (bytes for it alone can be
//! read) and to the socket (it can be written to again; the peer has closed it or sent bytes). Woken streams are queued once;
//! the shard works through the queue, reads the bus for several streams under one lock, and writes what each socket takes in
//! one call.
//!
//! **Full.** Bytes that a socket does not take wait in the stream, about one read of the bus
//! ([`DELIVER_MAX`](sse_bus::limits::DELIVER_MAX)) at most; the rest stays in feed and history. The stream leaves its shared
//! cursor and waits until the socket can be written to. A stream whose socket takes nothing for
//! [`WRITE_STALL`](sse_bus::limits::WRITE_STALL) is closed, and one whose client was kicked is closed within
//! [`STALL_CHECK`](sse_bus::limits::STALL_CHECK).
//!
//! **Closed.** A peer that closes, resets or half-closes the connection is noticed by the read side at once; bytes that it
//! sends are discarded. **Ended** (kicked, too slow, history delivered): the last chunk is sent, which distinguishes this end
//! from a broken connection, then the socket is closed.
//!
//! **Stopping.** Each stream ends as soon as it has everything that the bus has. Streams whose sockets are full have until the
//! daemon's own deadline.
//!
//! **Framing.** The bus frames the bytes of a stream as HTTP/1.1 chunks, or not at all for a client of HTTP/1.0. A shard has a
//! reader of the bus for each framing.

mod mailbox;
mod multicast;
mod shard;
mod stream;
mod streams;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio_util::sync::CancellationToken;

use self::mailbox::Mailbox;
pub(crate) use self::mailbox::NewStream;
use crate::shared_bus::SharedBus;

/// The shards.
pub(crate) struct Fanout {
    shards: Vec<Arc<Mailbox>>,
    next: AtomicUsize,
}

impl Fanout {
    /// One shard for each processor.
    pub(crate) fn new() -> Fanout {
        let shards = std::thread::available_parallelism().map_or(1, Into::into);
        Fanout { shards: (0..shards).map(|_| Arc::default()).collect(), next: AtomicUsize::new(0) }
    }

    /// Returns the tasks to spawn, one for each shard. Each ends when the daemon stops and its streams have ended.
    pub(crate) fn tasks(&self, bus: &SharedBus, stop: &CancellationToken) -> Vec<impl Future<Output = ()> + use<>> {
        self.shards.iter().map(|mailbox| shard::run(mailbox.clone(), bus.clone(), stop.clone())).collect()
    }

    /// Returns once every shard has worked through its queue.
    #[cfg_attr(windows, expect(dead_code, reason = "there is no watchdog"))]
    pub(crate) async fn make_progress(&self) {
        for mailbox in &self.shards {
            // A shard that has ended with the daemon does not answer.
            let _ = mailbox.request_progress().await;
        }
    }

    /// Passes a stream to a shard.
    pub(crate) fn add(&self, stream: NewStream) {
        self.shards[self.next.fetch_add(1, Ordering::Relaxed) % self.shards.len()].add(stream);
    }
}
