//! The bus as the daemon's tasks share it: one mutex, the clocks, and waking after unlocking.
//!
//! The mutex can be passed on to whoever waits for it, which the one of the standard library cannot: a batch of one
//! publisher does not keep another waiting.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::{Mutex, MutexGuard};
use sse_bus::{
    bus::{Bus, ClientId, Description, Now, Subscription},
    limits::CLIENTS_AT_ONCE,
    protocol::{ClientInfo, Refused, Subscribed, TopicInfo},
};
use tokio::sync::Notify;
use tracing::{debug, info};

use crate::access::Lease;

/// A handle to the bus. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SharedBus(Arc<Inner>);

struct Inner {
    bus: Mutex<Bus>,
    started: Instant,
    /// What the bus's clock began with.
    clock: u64,
    /// Called when there is something to write to disk or to read from it.
    disk: OnceLock<Box<dyn Fn(ForDisk) + Send + Sync>>,
    /// Told when there is something to tick for.
    awake: Notify,
    /// The longest time that the lock was held since somebody asked, in nanoseconds.
    longest_hold: AtomicU64,
}

/// What the bus has for whoever keeps its history on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForDisk {
    /// Something to write.
    pub(crate) changes: bool,
    /// Somebody who waits for what is there.
    pub(crate) wishes: bool,
}

impl SharedBus {
    /// `clock` is what the bus's clock begins with, in milliseconds; at least 1, so that nothing is as old as its
    /// beginning.
    pub(crate) fn new(bus: Bus, clock: u64) -> SharedBus {
        let inner = Inner {
            bus: Mutex::new(bus),
            started: Instant::now(),
            clock,
            disk: OnceLock::new(),
            awake: Notify::new(),
            longest_hold: AtomicU64::new(0),
        };
        SharedBus(Arc::new(inner))
    }

    /// Has something called whenever there is something for the disk. Only one can be.
    pub(crate) fn set_disk(&self, call: impl Fn(ForDisk) + Send + Sync + 'static) {
        let _ = self.0.disk.set(Box::new(call));
    }

    /// Does something with the bus, under its lock, and wakes whoever waits for what came of it. What is done must be
    /// short; the lock is no place to encode answers.
    pub(crate) fn with<R>(&self, action: impl FnOnce(&mut Bus, Now) -> R) -> R {
        // The bus keeps its invariants also if an action panics between two of its calls.
        let mut bus = self.0.bus.lock();
        let locked = Instant::now();
        let result = action(&mut bus, self.now());
        self.finish(bus, locked);
        result
    }

    /// Does something with the bus for each item, as one batch. Whoever waits for the bus has it after a few of them.
    pub(crate) fn with_each<T, R>(
        &self,
        items: impl Iterator<Item = T>,
        mut action: impl FnMut(&mut Bus, Now, T) -> R,
    ) -> Vec<R> {
        /// Items for which others wait.
        const FEW: usize = 16;
        let mut bus = self.0.bus.lock();
        let (mut locked, mut now) = (Instant::now(), self.now());
        let each = |(number, item)| {
            if number % FEW == FEW - 1 {
                self.note_hold(locked);
                // What the batch has published so far is sealed by whoever has the bus meanwhile.
                MutexGuard::bump(&mut bus);
                (locked, now) = (Instant::now(), self.now());
            }
            action(&mut bus, now, item)
        };
        let results = items.enumerate().map(each).collect();
        self.finish(bus, locked);
        results
    }

    /// Seals what was published, unlocks, and then wakes.
    fn finish(&self, mut bus: MutexGuard<'_, Bus>, locked: Instant) {
        let woken = bus.finish();
        let disk = self.0.disk.get();
        let disk = disk.map(|disk| (disk, ForDisk { changes: bus.has_changed(), wishes: bus.has_wanted() }));
        self.note_hold(locked);
        drop(bus);
        if let Some((call, what)) = disk.filter(|(_, what)| what.changes || what.wishes) {
            call(what);
        }
        woken.into_iter().for_each(Waker::wake);
    }

    /// Notes that the lock has been held since then.
    fn note_hold(&self, locked: Instant) {
        let held = locked.elapsed().as_nanos() as u64;
        // Nearly always it was held for longer before: then this only reads.
        if held > self.0.longest_hold.load(Ordering::Relaxed) {
            self.0.longest_hold.fetch_max(held, Ordering::Relaxed);
        }
    }

    /// The longest time that the lock was held since this was asked last.
    pub(crate) fn longest_hold(&self) -> Duration {
        Duration::from_nanos(self.0.longest_hold.swap(0, Ordering::Relaxed))
    }

    /// Looks at the bus as it is now. What has become too old while it slept goes first; of much the rest goes soon.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Bus, Now) -> R) -> R {
        let (seen, is_behind) = self.with(|bus, now| {
            if !bus.has_subscribers() {
                bus.tick(now);
            }
            (look(bus, now), bus.is_behind())
        });
        if is_behind {
            self.wake();
        }
        seen
    }

    /// The topics, by name; in steps, between which others have the bus. No more than there may be at once, however many
    /// come and go meanwhile.
    pub(crate) async fn topics(&self) -> Vec<TopicInfo> {
        let mut topics: Vec<TopicInfo> = Vec::new();
        loop {
            let last = topics.last().map(|last| &*last.topic);
            let (next, most) = self.look(|bus, now| (bus.topics_after(last, now), bus.limits().topics));
            if next.is_empty() || topics.len() > most {
                return topics;
            }
            topics.extend(next);
            tokio::task::yield_now().await;
        }
    }

    /// The clients, by id; in steps, between which others have the bus.
    pub(crate) async fn clients(&self) -> Vec<ClientInfo> {
        let ids = self.with(|bus, _| bus.client_ids());
        let mut clients = Vec::with_capacity(ids.len());
        for some in ids.chunks(CLIENTS_AT_ONCE) {
            clients.extend(self.with(|bus, _| bus.describe_clients(some)));
            tokio::task::yield_now().await;
        }
        clients
    }

    /// Disconnects the clients with an id or a name, in steps, and returns how many there were.
    pub(crate) async fn kick(&self, address: &str) -> Result<u64, Refused> {
        let addressed = self.with(|bus, _| bus.addressed(address))?;
        for some in addressed.chunks(CLIENTS_AT_ONCE) {
            self.with(|bus, now| {
                for id in some {
                    bus.disconnect(*id, now);
                }
            });
            tokio::task::yield_now().await;
        }
        Ok(addressed.len() as u64)
    }

    /// Has the bus tick soon, also where nobody subscribes.
    pub(crate) fn wake(&self) {
        self.0.awake.notify_one();
    }

    /// Waits until there is something to tick for.
    pub(crate) async fn woken(&self) {
        self.0.awake.notified().await;
    }

    /// Milliseconds since the daemon started.
    pub(crate) fn uptime(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn now(&self) -> Now {
        Now { mono: self.0.clock + self.uptime(), unix: unix_now() }
    }
}

/// Milliseconds since 1970 (UTC).
pub(crate) fn unix_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_millis().try_into().unwrap_or(u64::MAX)
}

/// A client for as long as its connection lives: dropping it disconnects the client.
pub(crate) struct Member {
    bus: SharedBus,
    pub(crate) id: ClientId,
    name: Option<String>,
    role: Role,
    /// Where a token was needed.
    lease: Option<Lease>,
}

#[derive(Clone, Copy)]
enum Role {
    Subscriber,
    Publisher,
}

impl Member {
    /// Makes a connection a subscriber.
    pub(crate) fn subscriber(bus: &SharedBus, subscription: Subscription) -> Result<(Member, Subscribed), Refused> {
        let description = subscription.description.clone();
        let filters = subscription.filters.to_strings();
        let (id, subscribed) = bus.with(|bus, now| {
            if !bus.has_subscribers() {
                // It may not have ticked for long, which is nothing that this one should notice.
                bus.tick(now);
            }
            bus.subscribe(subscription, now)
        })?;
        bus.wake();
        let member = Member::new(bus, id, &description, Role::Subscriber);
        info!(client = %id, name = member.name, peer = description.peer, ?filters, "subscriber connected");
        Ok((member, subscribed))
    }

    /// Ends the client when what let it in is over.
    pub(crate) fn leased(mut self, lease: Option<Lease>) -> Member {
        self.lease = lease;
        self
    }

    /// Makes a connection a publisher. `via` is the way in that it uses.
    pub(crate) fn publisher(bus: &SharedBus, peer: &str, via: &'static str) -> Result<Member, Refused> {
        let description = Description { name: None, peer: peer.to_owned(), origin: None };
        let id = bus.with(|bus, now| bus.add_publisher(description.clone(), via, now))?;
        // Scripts publish once and go; that would fill a log.
        debug!(client = %id, peer, via, "publisher connected");
        Ok(Member::new(bus, id, &description, Role::Publisher))
    }

    fn new(bus: &SharedBus, id: ClientId, description: &Description, role: Role) -> Member {
        let name = description.name.as_ref().map(|name| name.as_str().to_owned());
        Member { bus: bus.clone(), id, name, role, lease: None }
    }
}

impl Member {
    /// Whether the bus has removed the client.
    pub(crate) fn is_removed(&self) -> bool {
        self.bus.with(|bus, _| !bus.is_connected(self.id))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Where the bus has removed the client before, it was kicked, too slow, or had all it wanted.
        let by = if self.bus.with(|bus, now| bus.disconnect(self.id, now)) { "client" } else { "bus" };
        match self.role {
            Role::Subscriber => info!(client = %self.id, name = self.name, by, "subscriber disconnected"),
            Role::Publisher => debug!(client = %self.id, by, "publisher disconnected"),
        }
    }
}
