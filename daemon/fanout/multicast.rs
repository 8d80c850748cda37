//! Multicasts: the same bytes for many streams, written to a few of them at a time.
//!
//! The bytes are those that the bus read for a [shared cursor](sse_bus::bus::SharedCursorId), or a heartbeat. Several
//! multicasts may be in progress. They take turns, so that one with few members does not wait until one with many is finished.
//! A shared cursor is not read again until its multicast has ended. A member that leaves the shared cursor meanwhile receives
//! the bytes of the multicast before its own. So the bytes of each stream stay in order.

use bytes::Bytes;
use sse_bus::bus::{ClientId, SharedCursorId};

/// The same bytes for many streams.
pub(super) struct Multicast {
    /// The shared cursor that the bytes are for. None for heartbeats.
    shared: Option<SharedCursorId>,
    bytes: Bytes,
    members: Vec<ClientId>,
    /// Number of members that have the bytes: the first ones.
    done: usize,
}

impl Multicast {
    pub(super) fn new(shared: Option<SharedCursorId>, bytes: Bytes, members: Vec<ClientId>) -> Multicast {
        Multicast { shared, bytes, members, done: 0 }
    }

    /// Returns true if this multicast is for a shared cursor.
    pub(super) fn is_for(&self, shared: SharedCursorId) -> bool {
        self.shared == Some(shared)
    }

    /// Returns the next members, at most `most`, and counts them as done.
    pub(super) fn next(&mut self, most: usize) -> impl Iterator<Item = (ClientId, Bytes)> {
        let until = self.members.len().min(self.done + most);
        let next = &self.members[self.done..until];
        self.done = until;
        next.iter().map(|member| (*member, self.bytes.clone()))
    }

    /// Returns true if all members have the bytes.
    pub(super) fn is_done(&self) -> bool {
        self.done == self.members.len()
    }

    /// Returns the bytes for one member out of its turn, and counts it as done. None if it has them already, or is not a
    /// member.
    pub(super) fn take(&mut self, client: ClientId) -> Option<Bytes> {
        let waiting = &mut self.members[self.done..];
        let index = waiting.iter().position(|member| *member == client)?;
        waiting.swap(0, index);
        self.done += 1;
        Some(self.bytes.clone())
    }
}
