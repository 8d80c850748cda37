//! The ids of clients, feeds, readers and shared cursors.

use std::{fmt, str::FromStr};

/// A connection's id: `c1`, `c2`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub(super) u64);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl FromStr for ClientId {
    type Err = ();

    fn from_str(text: &str) -> Result<ClientId, ()> {
        let id = text.strip_prefix('c').and_then(|n| n.parse().ok()).map(ClientId);
        // Only the canonical form is an id: `c01` and `c+1` are names.
        id.filter(|id| id.to_string() == text).ok_or(())
    }
}

/// The longest name of a node. A longer text behind `@` makes no id.
const NODE_MAX: usize = 64;

impl ClientId {
    /// Returns the parts of the id of a client on a node of a shared bus, such as `c12@node`.
    pub fn parse_at_node(address: &str) -> Option<(ClientId, &str)> {
        let (id, node) = address.split_once('@')?;
        let is_node = (1..=NODE_MAX).contains(&node.len())
            && node.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        id.parse().ok().filter(|_| is_node).map(|id| (id, node))
    }
}

/// The index of a feed. It is reused after the feed has closed.
pub(super) type FeedKey = usize;

/// Identifies a reader: a task that reads for many clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderId(pub(super) usize);

/// Identifies a shared cursor: that of the clients of one feed with the same reader. The ID is reused
/// after the feed has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedCursorId {
    pub(super) feed: FeedKey,
    pub(super) reader: ReaderId,
}
