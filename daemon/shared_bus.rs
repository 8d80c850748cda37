//! The bus as the daemon's tasks share it: one mutex, the clocks, and waking after unlocking.
//!
//! The mutex can be handed to a waiting thread, unlike that of the standard library: a batch of one publisher does not keep
//! another publisher waiting.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use sse_bus::{
    bus::{Bus, Now},
    limits::CLIENTS_AT_ONCE,
    protocol::{ClientInfo, Refused, TopicInfo},
    time::unix_now,
};
use tokio::sync::Notify;

/// A handle to the bus. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SharedBus(Arc<Inner>);

struct Inner {
    bus: Mutex<Bus>,
    started: Instant,
    /// Start value of the bus's clock.
    clock: u64,
    /// Called when there is work for the disk.
    disk: OnceLock<Box<dyn Fn(ForDisk) + Send + Sync>>,
    /// Notified when the bus must tick.
    awake: Notify,
    /// The longest time that the lock was held since the last query, in nanoseconds.
    longest_hold: AtomicU64,
}

/// Work of the bus for its history on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForDisk {
    /// Changes to write.
    pub(crate) changes: bool,
    /// Clients that wait for events on disk.
    pub(crate) wishes: bool,
}

impl SharedBus {
    /// `clock` is the start value of the bus's clock, in milliseconds; at least 1, so that no event is as old as the clock.
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

    /// Registers the function that is called when there is work for the disk. There can be one.
    pub(crate) fn set_disk(&self, call: impl Fn(ForDisk) + Send + Sync + 'static) {
        let _ = self.0.disk.set(Box::new(call));
    }

    /// Runs an action on the bus under its lock, and wakes the clients that wait for its results. The action must be short:
    /// answers are encoded after unlocking.
    pub(crate) fn with<R>(&self, action: impl FnOnce(&mut Bus, Now) -> R) -> R {
        // The bus keeps its invariants even if an action panics between two calls.
        let mut bus = self.0.bus.lock();
        let locked = Instant::now();
        let result = action(&mut bus, self.now());
        self.finish(bus, locked);
        result
    }

    /// Runs an action on the bus for each item, as one batch. Waiting threads get the bus after a few items.
    pub(crate) fn with_each<T, R>(
        &self,
        items: impl Iterator<Item = T>,
        mut action: impl FnMut(&mut Bus, Now, T) -> R,
    ) -> Vec<R> {
        /// Items for which waiting threads wait.
        const FEW: usize = 16;
        let mut bus = self.0.bus.lock();
        let (mut locked, mut now) = (Instant::now(), self.now());
        let each = |(number, item)| {
            if number % FEW == FEW - 1 {
                self.note_hold(locked);
                // The thread that gets the bus seals the events that the batch has published so far.
                MutexGuard::bump(&mut bus);
                (locked, now) = (Instant::now(), self.now());
            }
            action(&mut bus, now, item)
        };
        let results = items.enumerate().map(each).collect();
        self.finish(bus, locked);
        results
    }

    /// Seals the published events, unlocks, and then wakes.
    fn finish(&self, mut bus: MutexGuard<'_, Bus>, locked: Instant) {
        let wakes = bus.finish();
        let disk = self.0.disk.get();
        let disk = disk.map(|disk| (disk, ForDisk { changes: bus.has_changed(), wishes: bus.has_wanted() }));
        self.note_hold(locked);
        drop(bus);
        if let Some((call, what)) = disk.filter(|(_, what)| what.changes || what.wishes) {
            call(what);
        }
        wakes.wake();
    }

    /// Notes how long the lock has been held.
    fn note_hold(&self, locked: Instant) {
        let held = locked.elapsed().as_nanos() as u64;
        // Nearly always it was held longer before: then this only reads.
        if held > self.0.longest_hold.load(Ordering::Relaxed) {
            self.0.longest_hold.fetch_max(held, Ordering::Relaxed);
        }
    }

    /// Returns the longest time that the lock was held since the last call.
    pub(crate) fn longest_hold(&self) -> Duration {
        Duration::from_nanos(self.0.longest_hold.swap(0, Ordering::Relaxed))
    }

    /// Reads the bus. Expired events are removed first; if there are many, the rest soon after.
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

    /// Returns the topics by name. Reads them in steps, between which other tasks use the bus, and returns no more than the
    /// limit of topics, even if topics are added and removed meanwhile.
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

    /// Returns the clients by ID. Reads them in steps, between which other tasks use the bus.
    pub(crate) async fn clients(&self) -> Vec<ClientInfo> {
        let ids = self.with(|bus, _| bus.client_ids());
        let mut clients = Vec::with_capacity(ids.len());
        for some in ids.chunks(CLIENTS_AT_ONCE) {
            clients.extend(self.with(|bus, _| bus.describe_clients(some)));
            tokio::task::yield_now().await;
        }
        clients
    }

    /// Disconnects the clients with an ID or a name, in steps, and returns their number.
    ///
    /// # Errors
    ///
    /// No client has this address.
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

    /// Makes the bus tick soon, even without subscribers.
    pub(crate) fn wake(&self) {
        self.0.awake.notify_one();
    }

    /// Waits until the bus must tick, at most for `busy` with subscribers and `idle` without. Without subscribers [`wake`]
    /// ends the wait.
    ///
    /// [`wake`]: Self::wake
    pub(crate) async fn until_tick(&self, busy: Duration, idle: Duration) {
        let (wait, has_subscribers) = self.with(|bus, now| {
            let wait = bus.next_timeout().map(|at| Duration::from_millis(at.saturating_sub(now.mono)));
            (wait, bus.has_subscribers())
        });
        let longest = if has_subscribers { busy } else { idle };
        let wait = wait.map_or(longest, |wait| wait.min(longest));
        if has_subscribers {
            tokio::time::sleep(wait).await;
        } else {
            let _ = tokio::time::timeout(wait, self.0.awake.notified()).await;
        }
    }

    /// Returns the milliseconds since the daemon started.
    pub(crate) fn uptime(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the time of the bus's clocks.
    pub(crate) fn now(&self) -> Now {
        Now { mono: self.0.clock + self.uptime(), unix: unix_now() }
    }
}
