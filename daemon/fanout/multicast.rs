//! Multicasts: the same bytes for many streams, written to a few of them at a time.
//!
//! The bytes are those read for a group of the bus, or a heartbeat. Several multicasts may be in progress; they take turns, so
//! that a small group does not wait for all of a large one. Until a multicast has ended, its group is not read again, and a
//! member that reads for itself meanwhile receives the bytes of the multicast first: so each stream stays in order.

use bytes::Bytes;
use sse_bus::bus::{ClientId, GroupId};

/// The same bytes for many streams.
pub(super) struct Multicast {
    /// The group that the bytes are for; nothing for heartbeats.
    group: Option<GroupId>,
    bytes: Bytes,
    members: Vec<ClientId>,
    /// Number of members, from the first, that have the bytes.
    done: usize,
}

impl Multicast {
    pub(super) fn new(group: Option<GroupId>, bytes: Bytes, members: Vec<ClientId>) -> Multicast {
        Multicast { group, bytes, members, done: 0 }
    }

    /// Returns true if this multicast is for a group.
    pub(super) fn is_for(&self, group: GroupId) -> bool {
        self.group == Some(group)
    }

    /// Takes the next members, `most` of them or fewer.
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

    /// Takes one member out of its turn, and returns its bytes unless it has them already.
    pub(super) fn take(&mut self, client: ClientId) -> Option<Bytes> {
        let waiting = &mut self.members[self.done..];
        let index = waiting.iter().position(|member| *member == client)?;
        waiting.swap(0, index);
        self.done += 1;
        Some(self.bytes.clone())
    }
}
