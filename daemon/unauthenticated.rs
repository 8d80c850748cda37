//! The memory of connections that have not authenticated.
//!
//! All of them share [`UNAUTHENTICATED_BYTES`]. Each is charged, from its first byte on, with [`BASE`] for its buffers and
//! with the bytes that it has sent, up to [`HEAD_MAX`], which no unfinished head exceeds in any protocol. Above the bound
//! the oldest of these connections are closed: a client with a token is done within one round trip. The charge ends when
//! the connection authenticates or closes.

use std::{collections::BTreeMap, future::pending, sync::Arc, time::Duration};

use parking_lot::Mutex;
use sse_bus::limits::{HEAD_MAX, UNAUTHENTICATED_BYTES};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Bytes that a connection costs besides what it has sent: its task, the smallest buffer of hyper, the state of TLS.
const BASE: usize = 12 << 10;

/// All connections that have not authenticated.
#[derive(Debug, Default)]
pub(crate) struct Budget(Mutex<Charges>);

#[derive(Debug, Default)]
struct Charges {
    /// Number of the next connection.
    next: u64,
    bytes: usize,
    /// The bytes of each connection and its token to close it, by number: the oldest first.
    by_connection: BTreeMap<u64, (usize, CancellationToken)>,
}

impl Budget {
    /// Adds a connection that has sent nothing yet.
    pub(crate) fn admit(self: Arc<Budget>) -> Unauthenticated {
        let number = {
            let mut charges = self.0.lock();
            charges.next += 1;
            charges.next
        };
        Unauthenticated {
            budget: self,
            number,
            authenticated: CancellationToken::new(),
            closed: CancellationToken::new(),
        }
    }
}

impl Charges {
    fn remove(&mut self, number: u64) {
        self.bytes -= self.by_connection.remove(&number).map_or(0, |(bytes, _)| bytes);
    }
}

/// A connection that has to authenticate. Dropping it ends its charge.
#[derive(Debug)]
pub(crate) struct Unauthenticated {
    budget: Arc<Budget>,
    number: u64,
    /// Cancelled by the first request that is authorized.
    authenticated: CancellationToken,
    /// Cancelled when other connections need the memory.
    closed: CancellationToken,
}

impl Unauthenticated {
    /// Charges bytes that the connection has sent. Returns false once it has authenticated: then nothing is charged any
    /// more.
    pub(crate) fn charge(&self, received: usize) -> bool {
        let mut charges = self.budget.0.lock();
        if self.authenticated.is_cancelled() {
            return false;
        }
        let (bytes, _) = charges.by_connection.entry(self.number).or_insert_with(|| (0, self.closed.clone()));
        let before = *bytes;
        *bytes = before.saturating_sub(BASE).saturating_add(received).min(HEAD_MAX) + BASE;
        let more = *bytes - before;
        charges.bytes += more;
        while charges.bytes > UNAUTHENTICATED_BYTES
            && let Some((_, (bytes, closed))) = charges.by_connection.pop_first()
        {
            charges.bytes -= bytes;
            closed.cancel();
        }
        true
    }

    /// Ends the charge: a request of the connection was authorized.
    pub(crate) fn authenticate(&self) {
        self.authenticated.cancel();
        self.budget.0.lock().remove(self.number);
    }

    /// Returns when the connection is to be closed, and why: it has not authenticated in time, or others need the memory.
    pub(crate) async fn expire(&self, time: Duration) -> &'static str {
        tokio::select! {
            authenticated = timeout(time, self.authenticated.cancelled()) => match authenticated {
                Ok(()) => pending().await,
                Err(_) => "it has shown no token in time",
            },
            () = self.closed.cancelled() => "newer connections without a token need the memory",
        }
    }
}

impl Drop for Unauthenticated {
    fn drop(&mut self) {
        self.budget.0.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that fill the budget when each has sent as much as it may.
    const FULL: usize = UNAUTHENTICATED_BYTES / (HEAD_MAX + BASE);

    #[test]
    fn the_oldest_connections_are_closed_when_all_together_hold_too_much() {
        let budget = Arc::<Budget>::default();
        let connections: Vec<_> = (0..=FULL).map(|_| budget.clone().admit()).collect();
        let is_closed = |n: usize| connections[n].closed.is_cancelled();
        for connection in &connections[..FULL] {
            assert!(connection.charge(1) && connection.charge(10 * HEAD_MAX) && connection.charge(1));
        }
        assert!(!(0..FULL).any(is_closed), "all fit");
        connections[0].authenticate();
        assert!(!connections[0].charge(1));
        connections[FULL].charge(HEAD_MAX);
        assert!(!(0..=FULL).any(is_closed), "the first is not charged any more");
        let last = budget.clone().admit();
        last.charge(HEAD_MAX);
        assert!(is_closed(1) && !(2..=FULL).any(is_closed), "the oldest that is charged");
        drop((connections, last));
        assert_eq!(budget.0.lock().bytes, 0);
        assert!(budget.0.lock().by_connection.is_empty());
    }
}
