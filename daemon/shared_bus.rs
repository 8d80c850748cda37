//! The bus as the daemon's tasks share it: one mutex, the clocks, and waking after unlocking.
//!
//! The mutex is that of `parking_lot`, because a thread can hand it to one that waits for it. A thread with long work does so
//! between steps, so that a large batch of one publisher does not delay the others.
//!
//! A *tick* is the regular work of the bus, such as heartbeats and the eviction of old events ([`Bus::tick`]).

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use sse_bus::{
    bus::{Bus, ClientId, Now, Publication},
    limits::CLIENTS_AT_ONCE,
    protocol::{ClientInfo, Published, Refused, TopicInfo},
    time::{unix_now, whole_millis},
};
use tokio::sync::Notify;

use crate::hold_clock::{HoldClock, Locked};

/// The longest time between two ticks of the bus while it has subscribers, or clients with tokens, which may expire or be
/// revoked.
pub(crate) const BUSY_TICK: Duration = Duration::from_secs(1);
/// The longest time between two ticks without subscribers.
const IDLE_TICK: Duration = Duration::from_mins(5);

/// A handle to the bus. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SharedBus(Arc<Inner>);

struct Inner {
    bus: Mutex<Bus>,
    started: Instant,
    /// Start value of the bus's clock.
    clock: u64,
    /// Called when there is work for the disk, or for a log elsewhere.
    disk: OnceLock<Box<dyn Fn(ForDisk) + Send + Sync>>,
    /// Notified when the bus must tick.
    awake: Notify,
    /// The time of the next tick, on the clock of the bus. It is set under the lock; without the lock it is only decreased.
    tick_at: AtomicU64,
    /// The number of clients with a token.
    token_holders: AtomicUsize,
    /// True while a thread does the remaining work of the bus, see [`SharedBus::finish`]. Changed under the lock.
    is_finishing: AtomicBool,
    /// The clock that measures how long the lock is held.
    hold_clock: HoldClock,
    /// The longest time that the lock was held since the last query, in nanoseconds.
    longest_hold: AtomicU64,
}

/// The bus while this thread holds its lock. Between the steps of long work, waiting threads get the lock.
pub(crate) struct LockedBus<'a> {
    bus: MutexGuard<'a, Bus>,
    shared: &'a SharedBus,
    locked: Locked,
    /// How many events for very many feeds the bus has counted, see [`Bus::broadcasts`], without those of this thread.
    broadcasts: u64,
}

impl Deref for LockedBus<'_> {
    type Target = Bus;

    fn deref(&self) -> &Bus {
        &self.bus
    }
}

impl DerefMut for LockedBus<'_> {
    fn deref_mut(&mut self) -> &mut Bus {
        &mut self.bus
    }
}

impl LockedBus<'_> {
    /// Publishes an event, see [`Bus::publish`]. If many clients share the name to which it is sent, they receive it in steps.
    pub(crate) fn publish(
        &mut self,
        publication: Publication,
        from: Option<ClientId>,
        now: Now,
    ) -> Result<Published, Refused> {
        if !self.bus.is_unicast(&publication) {
            return self.bus.publish(publication, from, now);
        }
        let mut unicast = self.bus.begin_unicast(publication, from, now)?;
        loop {
            if let Some(published) = self.bus.continue_unicast(&mut unicast) {
                return Ok(published);
            }
            self.give_way();
        }
    }

    /// Lets a waiting thread use the bus. When that thread is done, it also seals the events published so far: subscribers can
    /// then read them.
    fn give_way(&mut self) {
        self.note_hold();
        let own = self.bus.broadcasts() - self.broadcasts;
        MutexGuard::bump(&mut self.bus);
        self.broadcasts = self.bus.broadcasts() - own;
        self.locked = Locked::now(self.shared.0.hold_clock);
    }

    /// Returns true if this thread has published an event for very many feeds since it locked the bus.
    fn has_broadcast(&self) -> bool {
        self.bus.broadcasts() > self.broadcasts
    }

    /// Notes how long the lock has been held.
    fn note_hold(&self) {
        let (held, longest) = (self.locked.elapsed().as_nanos() as u64, &self.shared.0.longest_hold);
        // Nearly always an earlier hold was longer. Then this is only a read, which does not slow other threads down.
        if held > longest.load(Ordering::Relaxed) {
            longest.fetch_max(held, Ordering::Relaxed);
        }
    }
}

/// Which work the bus has for its history on disk, or for a log elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForDisk {
    /// True if there are changes to write.
    pub(crate) changes: bool,
    /// True if clients or consumers wait for events that are not in memory.
    pub(crate) wishes: bool,
}

impl SharedBus {
    /// Shares a bus. `clock` is the start value of its clock, in milliseconds; at least 1, so that no event is as old as the
    /// clock.
    pub(crate) fn new(bus: Bus, clock: u64) -> SharedBus {
        let inner = Inner {
            bus: Mutex::new(bus),
            started: Instant::now(),
            clock,
            disk: OnceLock::new(),
            awake: Notify::new(),
            tick_at: AtomicU64::new(0),
            token_holders: AtomicUsize::new(0),
            is_finishing: AtomicBool::new(false),
            hold_clock: HoldClock::chosen(),
            longest_hold: AtomicU64::new(0),
        };
        SharedBus(Arc::new(inner))
    }

    /// Registers the function that is called when there is work for the disk, or for a log elsewhere. A second function is
    /// ignored.
    pub(crate) fn set_disk(&self, call: impl Fn(ForDisk) + Send + Sync + 'static) {
        let _ = self.0.disk.set(Box::new(call));
    }

    fn lock(&self) -> LockedBus<'_> {
        // This mutex is not poisoned by a panic: the bus keeps its invariants even if an action panics between two calls.
        let bus = self.0.bus.lock();
        LockedBus { broadcasts: bus.broadcasts(), bus, shared: self, locked: Locked::now(self.0.hold_clock) }
    }

    /// Runs an action on the bus under its lock, and wakes the clients that wait for its results. The action must be short:
    /// replies are encoded after unlocking.
    pub(crate) fn with<R>(&self, action: impl FnOnce(&mut LockedBus<'_>, Now) -> R) -> R {
        let mut bus = self.lock();
        let result = action(&mut bus, self.now());
        self.finish(bus);
        result
    }

    /// Runs an action on the bus for each item, as one batch. Waiting threads get the bus after a few items.
    pub(crate) fn with_each<T, R>(
        &self,
        items: impl Iterator<Item = T>,
        mut action: impl FnMut(&mut LockedBus<'_>, Now, T) -> R,
    ) -> Vec<R> {
        /// Waiting threads get the bus after this number of items, or before the next item if the lock was held for longer
        /// than this time.
        const FEW: usize = 16;
        const LONG: Duration = Duration::from_micros(200);
        let mut bus = self.lock();
        let mut now = self.now();
        let each = |(number, item)| {
            let is_long = number % FEW == FEW - 1 || bus.locked.elapsed() > LONG;
            let waits = (is_long || bus.has_broadcast()) && bus.has_many_broadcasts();
            if is_long || waits {
                while waits && bus.has_many_broadcasts() {
                    bus.give_way();
                    bus.finish_some();
                }
                bus.give_way();
                now = self.now();
            }
            action(&mut bus, now, item)
        };
        let results = items.enumerate().map(each).collect();
        self.finish(bus);
        results
    }

    /// Seals the published events, unlocks, and then wakes the clients that can read them.
    ///
    /// Work for very many feeds is done in steps, between which waiting threads get the bus. The first thread that finds such
    /// work does all of it; others meanwhile do one step each. A thread that has itself published such events does more steps
    /// while there are many of them, so that publishers do not outrun the work.
    fn finish(&self, mut bus: LockedBus<'_>) {
        let has_broadcast = bus.has_broadcast();
        if has_broadcast {
            bus.give_way();
        }
        if bus.finish_some() {
            let is_first = !self.0.is_finishing.swap(true, Ordering::Relaxed);
            while is_first || (has_broadcast && bus.has_many_broadcasts()) {
                bus.give_way();
                if !bus.finish_some() {
                    break;
                }
            }
            if is_first {
                self.0.is_finishing.store(false, Ordering::Relaxed);
            }
        }
        let wakes = bus.take_wakes();
        let disk = self.0.disk.get();
        let disk = disk.map(|disk| {
            (disk, ForDisk { changes: bus.has_changed(), wishes: bus.has_wanted() || bus.has_wanted_events() })
        });
        let timer = bus.next_consumer_timer().into_iter().chain(bus.next_schedule()).min();
        bus.note_hold();
        drop(bus);
        if let Some(timer) = timer {
            self.tick_by(timer);
        }
        if let Some((call, what)) = disk.filter(|(_, what)| what.changes || what.wishes) {
            call(what);
        }
        wakes.wake();
    }

    /// Returns the longest time that the lock was held since the last call.
    pub(crate) fn longest_hold(&self) -> Duration {
        Duration::from_nanos(self.0.longest_hold.swap(0, Ordering::Relaxed))
    }

    /// Reads the bus. Without subscribers it ticks first, because it rarely ticks then and may still have expired events; if
    /// many are expired, the next tick follows at once.
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

    /// Describes the clients with an ID or a name.
    ///
    /// # Errors
    ///
    /// No client has this address.
    pub(crate) fn described(&self, address: &str) -> Result<Vec<ClientInfo>, Refused> {
        let addressed = self.with(|bus, _| bus.addressed(address))?;
        let steps = addressed.chunks(CLIENTS_AT_ONCE);
        Ok(steps.flat_map(|some| self.with(|bus, _| bus.describe_clients(some))).collect())
    }

    /// Makes the bus tick now.
    pub(crate) fn wake(&self) {
        self.tick_by(0);
    }

    /// Makes the bus tick within [`BUSY_TICK`], as it must while there are subscribers.
    pub(crate) fn wake_for_subscriber(&self) {
        self.tick_by(self.now().mono + whole_millis(BUSY_TICK));
    }

    /// Makes the bus tick at a time of its clock, unless it ticks earlier.
    fn tick_by(&self, at: u64) {
        if at < self.0.tick_at.fetch_min(at, Ordering::Relaxed) {
            self.0.awake.notify_one();
        }
    }

    /// Counts a client with a token. While there are such clients, the bus ticks often enough to disconnect them soon after
    /// their token has expired or was revoked.
    pub(crate) fn add_token_holder(&self) {
        self.0.token_holders.fetch_add(1, Ordering::Relaxed);
        self.wake_for_subscriber();
    }

    /// Counts the end of a client with a token.
    pub(crate) fn remove_token_holder(&self) {
        self.0.token_holders.fetch_sub(1, Ordering::Relaxed);
    }

    /// Waits until the bus must tick, at most for [`BUSY_TICK`] with subscribers or clients with tokens, and [`IDLE_TICK`]
    /// without.
    pub(crate) async fn until_tick(&self) {
        self.with(|bus, now| {
            let is_busy = bus.has_subscribers() || self.0.token_holders.load(Ordering::Relaxed) > 0;
            let longest = if is_busy { BUSY_TICK } else { IDLE_TICK };
            let due = bus.next_timeout().map(|at| Duration::from_millis(at.saturating_sub(now.mono)));
            let wait = due.map_or(longest, |wait| wait.min(longest));
            self.0.tick_at.store(now.mono.saturating_add(whole_millis(wait)), Ordering::Relaxed);
        });
        loop {
            let wait = self.0.tick_at.load(Ordering::Relaxed).saturating_sub(self.now().mono);
            // An earlier time is kept, even if the timer that set it is removed. Timers of deliveries to workers are nearly
            // always removed, and so the later timers of the next deliveries wake nothing.
            if wait == 0 || tokio::time::timeout(Duration::from_millis(wait), self.0.awake.notified()).await.is_err() {
                return;
            }
        }
    }

    /// Returns the milliseconds since the daemon started.
    pub(crate) fn uptime(&self) -> u64 {
        whole_millis(self.0.started.elapsed())
    }

    /// Returns the time of the bus's clocks.
    pub(crate) fn now(&self) -> Now {
        Now { mono: self.0.clock + self.uptime(), unix: unix_now() }
    }
}
