//! What other tasks see of a shard: a queue of new streams, and of streams that were woken.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Wake,
};

use bytes::Bytes;
use sse_bus::bus::{ClientId, Framing};
use tokio::{
    net::TcpStream,
    sync::{Notify, oneshot},
};

use crate::{client_guard::ClientGuard, connection_limits::ConnectionPermit};

/// A stream on its way to its shard.
pub(crate) struct NewStream {
    pub(crate) socket: TcpStream,
    /// Returned when the connection is closed.
    pub(crate) permit: ConnectionPermit,
    pub(crate) client: ClientGuard,
    pub(crate) framing: Framing,
    /// Framed bytes that are sent before the first event.
    pub(crate) head: Bytes,
}

/// The queue of a shard.
#[derive(Default)]
pub(super) struct Mailbox {
    queue: Mutex<Queue>,
    pub(super) wake: Notify,
}

#[derive(Default)]
struct Queue {
    new: Vec<NewStream>,
    /// Streams that were woken, each once.
    woken: Vec<ClientId>,
    /// Tasks that wait until the shard makes progress.
    progress: Vec<oneshot::Sender<()>>,
    /// The shard has ended and takes no more streams.
    is_closed: bool,
}

/// What a shard takes from its mailbox.
pub(super) struct Mail {
    pub(super) new: Vec<NewStream>,
    pub(super) progress: Vec<oneshot::Sender<()>>,
}

impl Mailbox {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a stream to the shard.
    pub(super) fn add(&self, stream: NewStream) {
        let mut queue = self.queue();
        if queue.is_closed {
            drop(queue);
            // After unlocking: the bus notifies other clients of the disconnect, whose streams may be this shard's.
            return drop(stream);
        }
        queue.new.push(stream);
        drop(queue);
        self.wake.notify_one();
    }

    /// Asks the shard to answer once it has worked through its queue.
    pub(super) fn request_progress(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.queue().progress.push(sender);
        self.wake.notify_one();
        receiver
    }

    /// Takes everything that waits; woken streams go into an empty vector, whose allocation is reused. Returns None, and
    /// closes the mailbox, if `may_close` and there is no new stream.
    pub(super) fn take(&self, woken: &mut Vec<ClientId>, may_close: bool) -> Option<Mail> {
        let mut queue = self.queue();
        mem::swap(woken, &mut queue.woken);
        queue.is_closed = may_close && queue.new.is_empty();
        let progress = mem::take(&mut queue.progress);
        if queue.is_closed {
            return None;
        }
        Some(Mail { new: mem::take(&mut queue.new), progress })
    }
}

/// The waker of a shard: the bus has bytes for a shared cursor.
impl Wake for Mailbox {
    fn wake(self: Arc<Self>) {
        self.wake.notify_one();
    }
}

/// The waker of one stream.
pub(super) struct StreamWaker {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) client: ClientId,
    pub(super) is_queued: AtomicBool,
}

impl Wake for StreamWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            let is_first = {
                let mut queue = self.mailbox.queue();
                queue.woken.push(self.client);
                queue.woken.len() == 1
            };
            if is_first {
                self.mailbox.wake.notify_one();
            }
        }
    }
}
