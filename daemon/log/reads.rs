//! Serves what subscribers want from a [log elsewhere](super::external), each request in a task of its own: no subscriber
//! waits for the read of another.
//!
//! The replies that were handed over and are not read yet are bounded: at the limit, reads wait until a subscriber has read
//! one, and then drop the oldest. Subscribers request dropped events again when they continue. While the log cannot be
//! read, a read tries again with growing pauses; after [`PATIENCE`] the subscriber receives the refusal.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sse_bus::{
    bus::fetch::{Fetched, Wanted},
    protocol::Refused,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::{sleep, timeout},
};
use tracing::warn;

use super::external::ExternalLog;
use crate::shared_bus::SharedBus;

/// Maximum number of reads at the same time.
const READS_MAX: usize = 8;
/// Maximum number of replies that are handed over and not read yet.
const UNREAD_MAX: usize = 64;
/// How long a reply stays available at least.
const MIN_HOLD: Duration = Duration::from_millis(100);
/// How often a read checks for room for its reply.
const ROOM_POLL: Duration = Duration::from_millis(2);
/// How long a reply stays available at most, while there are no requests.
const LIFETIME: Duration = Duration::from_secs(1);
/// The first pause of a read that failed. Each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// How long a read that fails is repeated.
const PATIENCE: Duration = Duration::from_secs(5);

/// The reads of one node.
struct Reads<L> {
    bus: SharedBus,
    log: Arc<L>,
    permits: Semaphore,
    unread: Unread,
}

/// Serves requests until the daemon ends. `requested` is notified of new ones.
pub(super) async fn serve<L: ExternalLog>(bus: SharedBus, requested: Arc<Notify>, log: Arc<L>) {
    let reads = Arc::new(Reads { bus, log, permits: Semaphore::new(READS_MAX), unread: Unread::default() });
    loop {
        if reads.unread.is_empty() {
            requested.notified().await;
        } else if timeout(LIFETIME, requested.notified()).await.is_err() {
            reads.unread.drop_old();
        }
        for wanted in reads.bus.with(|bus, _| bus.take_wanted()) {
            let reads = reads.clone();
            tokio::spawn(async move { reads.serve_one(&wanted).await });
        }
    }
}

impl<L: ExternalLog> Reads<L> {
    async fn serve_one(&self, wanted: &Wanted) {
        let fetched = Arc::new(self.read(wanted).await);
        // A reply without references like this one was read.
        let reference = Arc::downgrade(&fetched);
        self.unread.add(fetched);
        self.bus.with(|bus, _| {
            if bus.rewrites() == wanted.rewrites {
                bus.hand_over(wanted.client, reference);
            }
        });
    }

    /// Reads what is wanted, or returns why that is not possible.
    async fn read(&self, wanted: &Wanted) -> Fetched {
        let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            match self.try_read(wanted).await {
                Ok(fetched) => return fetched,
                Err(refused) if began.elapsed() + pause > PATIENCE => {
                    warn!(%refused, "the log cannot be read");
                    let refused = Some(refused);
                    return Fetched { from: wanted.seq, upto: wanted.seq, refused, ..Fetched::default() };
                }
                Err(_) => sleep(pause).await,
            }
            pause *= 2;
        }
    }

    async fn try_read(&self, wanted: &Wanted) -> Result<Fetched, Refused> {
        let _permit = self.permits.acquire().await;
        self.unread.wait_for_room().await;
        match wanted.snapshot {
            Some(kind) => self.log.latest(wanted, kind).await,
            None => self.log.read(wanted).await,
        }
    }
}

/// The replies that were handed over and not read yet, oldest first, each since when.
#[derive(Default)]
struct Unread(Mutex<VecDeque<(Arc<Fetched>, Instant)>>);

impl Unread {
    fn add(&self, fetched: Arc<Fetched>) {
        self.0.lock().push_back((fetched, Instant::now()));
    }

    fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    fn drop_old(&self) {
        self.0.lock().retain(|(_, since)| since.elapsed() < LIFETIME);
    }

    /// Waits until there may be one more: drops what was read, then the oldest that was held long enough.
    async fn wait_for_room(&self) {
        while !self.has_room() {
            sleep(ROOM_POLL).await;
        }
    }

    fn has_room(&self) -> bool {
        let mut unread = self.0.lock();
        unread.retain(|(fetched, _)| Arc::weak_count(fetched) > 0);
        if unread.len() >= UNREAD_MAX {
            unread.pop_front_if(|(_, since)| since.elapsed() >= MIN_HOLD);
        }
        unread.len() < UNREAD_MAX
    }
}
