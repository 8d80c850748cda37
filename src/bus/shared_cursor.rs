//! The cursor that the members of a group share, see [`Bus::read_group`](super::Bus::read_group).

use super::ids::{ClientId, ReaderId};

/// A group. Without members it has no place.
#[derive(Debug)]
pub(super) struct SharedCursor {
    pub(super) reader: ReaderId,
    pub(super) members: Vec<ClientId>,
    /// The segment that all members get next.
    pub(super) segment: u64,
    /// Everything up to here all members have.
    pub(super) seq: u64,
    /// How many events each member has got from it, had it been there always.
    pub(super) events: u64,
    /// The newest number among the events that it delivered.
    pub(super) delivered: u64,
    /// Its reader is called, and has not read everything since.
    pub(super) is_woken: bool,
}

impl SharedCursor {
    pub(super) fn new(reader: ReaderId) -> SharedCursor {
        SharedCursor { reader, members: Vec::new(), segment: 0, seq: 0, events: 0, delivered: 0, is_woken: false }
    }
}
