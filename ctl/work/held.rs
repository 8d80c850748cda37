//! The deliveries that a worker has, and when each has to be extended: at a third of the time to its deadline.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use sse_bus::{client::Delivery, time::unix_now};
use tokio::time::{Instant, sleep_until};

/// Identifies an event among the deliveries: its id, or the token if it has no id.
pub(super) type Key = String;

/// Returns the key of a delivery.
pub(super) fn key(delivery: &Delivery) -> Key {
    delivery.id.map_or_else(|| delivery.token().to_owned(), |id| id.to_string())
}

/// Deliveries that are extended until they are taken out. The consumer bounds their number.
pub(super) struct Held {
    ack_wait: Duration,
    deliveries: HashMap<Key, (Delivery, Instant)>,
    extensions: BTreeSet<(Instant, Key)>,
}

impl Held {
    pub(super) fn new(ack_wait: Duration) -> Held {
        Held {
            ack_wait: ack_wait.max(Duration::from_millis(3)),
            deliveries: HashMap::new(),
            extensions: BTreeSet::new(),
        }
    }

    /// Adds a delivery. Returns false if there was one of the same event, which it replaces.
    pub(super) fn insert(&mut self, key: Key, delivery: Delivery) -> bool {
        // The clock of a daemon elsewhere may differ.
        let remaining = Duration::from_millis(delivery.deadline().saturating_sub(unix_now())).min(self.ack_wait);
        let is_new = self.remove(&key).is_none();
        let at = Instant::now() + remaining / 3;
        self.extensions.insert((at, key.clone()));
        self.deliveries.insert(key, (delivery, at));
        is_new
    }

    /// Returns a delivery.
    pub(super) fn get(&self, key: &str) -> Option<&Delivery> {
        self.deliveries.get(key).map(|(delivery, _)| delivery)
    }

    /// Takes a delivery out.
    pub(super) fn remove(&mut self, key: &str) -> Option<Delivery> {
        let (delivery, at) = self.deliveries.remove(key)?;
        self.extensions.remove(&(at, key.to_owned()));
        Some(delivery)
    }

    pub(super) fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Waits until a delivery has to be extended. Cancel-safe.
    pub(super) async fn due(&self) {
        match self.extensions.first() {
            Some((at, _)) => sleep_until(*at).await,
            None => std::future::pending().await,
        }
    }

    /// Extends the deliveries that are due.
    pub(super) fn extend(&mut self) {
        let now = Instant::now();
        while self.extensions.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, key)) = self.extensions.pop_first()
        {
            let next = now + self.ack_wait / 3;
            if let Some((delivery, at)) = self.deliveries.get_mut(&key) {
                // A delivery that is no longer current is reported when it is settled.
                drop(delivery.extend());
                *at = next;
                self.extensions.insert((next, key));
            }
        }
    }
}
