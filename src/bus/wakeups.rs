//! The tasks to wake once the bus is unlocked, and the work of readers.

use std::task::Waker;

use super::{
    framing::Framing,
    ids::{ClientId, FeedKey, ReaderId, SharedCursorId},
    shared_cursor::SharedCursor,
};

/// Tasks that have something to read. Dropping this wakes them; drop it after the bus is unlocked, since each task locks the
/// bus.
#[derive(Debug)]
#[must_use = "drop it after the bus is unlocked, to wake the tasks"]
pub struct Wakes(pub(super) Vec<Waker>);

impl Wakes {
    /// Returns the number of tasks.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Wakes the tasks.
    pub fn wake(self) {}
}

impl Drop for Wakes {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

/// The wakers that the next [`Bus::finish`](super::Bus::finish) returns, and the readers.
#[derive(Debug, Default)]
pub(super) struct Wakeups {
    pub(super) woken: Vec<Waker>,
    pub(super) readers: Vec<Reader>,
}

/// A reader, with its work.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) waker: Waker,
    pub(super) framing: Framing,
    /// Its shared cursors that have something to read, without duplicates.
    pub(super) called: Vec<SharedCursorId>,
    /// Its clients on shared cursors whose heartbeats are due.
    pub(super) heartbeats: Vec<ClientId>,
}

impl Wakeups {
    /// Wakes the readers of a feed's shared cursors.
    pub(super) fn shared_cursors_of(&mut self, key: FeedKey, shared_cursors: &mut [SharedCursor]) {
        for shared in shared_cursors.iter_mut().filter(|shared| !shared.members.is_empty() && !shared.is_woken) {
            shared.is_woken = true;
            let shared = SharedCursorId { feed: key, reader: shared.reader };
            self.reader(shared.reader).called.push(shared);
        }
    }

    /// Wakes a client's reader to send it a heartbeat.
    pub(super) fn heartbeat_of(&mut self, client: ClientId, reader: ReaderId) {
        self.reader(reader).heartbeats.push(client);
    }

    /// Returns the framing of a client's bytes, which its reader determines.
    pub(super) fn framing_of(&self, reader: Option<ReaderId>) -> Framing {
        reader.map_or(Framing::Plain, |reader| self.readers[reader.0].framing)
    }

    /// Returns a reader, and wakes it.
    fn reader(&mut self, reader: ReaderId) -> &mut Reader {
        let reader = &mut self.readers[reader.0];
        if reader.called.is_empty() && reader.heartbeats.is_empty() {
            self.woken.push(reader.waker.clone());
        }
        reader
    }
}
