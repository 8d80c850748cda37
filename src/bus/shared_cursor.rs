//! The cursor that subscribers share: those of one feed that have read everything and have the same reader. See
//! [`Bus::read_shared`](super::Bus::read_shared).

use super::ids::{ClientId, ReaderId};

/// The cursor of several subscribers. Its position is meaningless while it has no members.
#[derive(Debug)]
pub(super) struct SharedCursor {
    pub(super) reader: ReaderId,
    pub(super) members: Vec<ClientId>,
    /// The segment that all members receive next.
    pub(super) segment: u64,
    /// All members have received every event up to this sequence number.
    pub(super) seq: u64,
    /// Events delivered through this cursor since it was created.
    pub(super) events: u64,
    /// The newest sequence number that it has delivered.
    pub(super) delivered: u64,
    /// Its reader was woken, and has not read everything since.
    pub(super) is_woken: bool,
}

impl SharedCursor {
    pub(super) fn new(reader: ReaderId) -> SharedCursor {
        SharedCursor { reader, members: Vec::new(), segment: 0, seq: 0, events: 0, delivered: 0, is_woken: false }
    }
}
