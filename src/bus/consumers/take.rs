//! Taking deliveries: ready events first, then later events of the log.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    task::Waker,
};

use super::{
    chores::Departed,
    consumer::Consumer,
    delivery::{Delivery, Departure, Missed, Next, Taken, WorkerId},
    event_state::DeadReason,
    keys::key_of,
    name::ConsumerName,
    notice::Notice,
    registry::Registry,
    table::Consumers,
    wanted::WantedEvent,
    worker::Worker,
};
use crate::{
    bus::{
        Bus, Now,
        fetch::{Fetched, Found, find},
        history::{Entry, History},
        state::refuse_more,
    },
    event::Event,
    limits::{CHORES_AT_ONCE, SCAN_MAX, TAKE_MAX, UNFINISHED_MAX, WORKERS_MAX},
    protocol::{ErrorCode, Refused},
    topic::FilterSet,
};

/// The refusal of a worker that was removed.
fn removed() -> Refused {
    Refused::new(ErrorCode::ConsumerUnknown, "the worker's consumer was deleted, or the worker removed")
}

/// The location of an event that a consumer is to deliver.
enum Location {
    Here(Arc<Event>),
    OnDisk,
    Missing,
}

fn locate(entry: &Entry, fetched: Option<&Fetched>) -> Location {
    match (&entry.event, find(entry, fetched.filter(|fetched| fetched.refused.is_none()))) {
        (Some(event), _) => Location::Here(event.clone()),
        (None, Found::Here(event)) => Location::Here(event.clone().into()),
        (None, Found::OnDisk) => Location::OnDisk,
        (None, Found::Lost) => Location::Missing,
    }
}

impl Bus {
    /// Adds a worker of a consumer, with at most `slots` deliveries in flight, or `max_in_flight` of the consumer. `worker` is
    /// its name, for dead letters.
    ///
    /// # Errors
    ///
    /// There is no such consumer, or there are too many workers.
    pub fn add_worker(
        &mut self,
        name: &ConsumerName,
        worker: &str,
        slots: usize,
        now: Now,
    ) -> Result<WorkerId, Refused> {
        let have = self.consumers.registry.workers.len();
        refuse_more(have, WORKERS_MAX, ErrorCode::LimitWorkers, "workers")?;
        let (consumer, registry) = self.consumers.get_mut(name)?;
        registry.last_worker += 1;
        let id = WorkerId(registry.last_worker);
        let state = Worker {
            consumer: consumer.key,
            name: worker.into(),
            slots: slots.min(consumer.settings.max_in_flight),
            delivered: 0,
            in_flight: BTreeMap::new(),
            ticket: None,
            waker: None,
        };
        registry.workers.insert(id, state);
        consumer.workers += 1;
        if !consumer.is_holding {
            consumer.is_holding = true;
            registry.notices.push(Notice::new("active", name.as_str()));
        }
        consumer.watch(registry, now.mono);
        self.finish_consumers(now);
        Ok(id)
    }

    /// Returns the filters of a consumer, to authorize its workers.
    ///
    /// # Errors
    ///
    /// There is no such consumer.
    pub fn consumer_filters(&self, name: &ConsumerName) -> Result<&FilterSet, Refused> {
        self.consumers.find(name).map(|key| &self.consumers.by_key[&key].settings.filters)
    }

    /// Changes the maximum number of deliveries in flight of a worker. With 0 it takes no more.
    ///
    /// # Errors
    ///
    /// The worker was removed, or its consumer was.
    pub fn set_slots(&mut self, id: WorkerId, slots: usize, now: Now) -> Result<(), Refused> {
        let Consumers { by_key, registry, .. } = &mut self.consumers;
        let worker = registry.workers.get_mut(&id).ok_or_else(removed)?;
        let consumer = by_key.get_mut(&worker.consumer).ok_or_else(removed)?;
        worker.slots = slots.min(consumer.settings.max_in_flight);
        if worker.free() == 0 {
            consumer.give_up_turn(id, registry);
        } else {
            consumer.turns.wait(id, registry);
        }
        consumer.offer(registry, now.mono);
        self.finish_consumers(now);
        Ok(())
    }

    /// Returns the filters of a worker's consumer, and the number of its deliveries so far.
    pub(in crate::bus) fn worker_info(&self, id: WorkerId) -> Option<(Vec<String>, u64)> {
        let worker = self.consumers.registry.workers.get(&id)?;
        let consumer = self.consumers.by_key.get(&worker.consumer)?;
        Some((consumer.settings.filters.to_strings(), worker.delivered))
    }

    /// Removes a worker. Its waker is woken.
    pub fn remove_worker(&mut self, id: WorkerId, departure: Departure, now: Now) {
        let Consumers { by_key, registry, .. } = &mut self.consumers;
        let Some(worker) = registry.workers.get(&id) else { return };
        let key = worker.consumer;
        let Some(consumer) = by_key.get_mut(&key) else { return };
        consumer.give_up_turn(id, registry);
        let Some(worker) = registry.workers.remove(&id) else { return };
        consumer.workers -= 1;
        registry.woken.extend(worker.waker);
        consumer.watch(registry, now.mono);
        consumer.offer(registry, now.mono);
        // A worker whose connection ends with the daemon has not failed.
        let is_ended = self.is_closed && departure == Departure::Lost;
        let departure = if is_ended { Departure::Released } else { departure };
        if departure != Departure::Detached {
            let departed = Departed { consumer: key, in_flight: worker.in_flight, departure, now };
            self.consumers.chores.departed.push(departed);
            self.depart_some(CHORES_AT_ONCE);
        }
        self.finish_consumers(now);
    }

    /// Ends the wait of a worker that is going to [take](Bus::take) soon: until then it is not woken, and others have their turns.
    pub fn stop_waiting(&mut self, id: WorkerId) {
        let Consumers { by_key, registry, .. } = &mut self.consumers;
        let Some(worker) = registry.workers.get_mut(&id) else { return };
        if worker.waker.take().is_some()
            && let Some(consumer) = by_key.get_mut(&worker.consumer)
        {
            consumer.turns.leave(id, registry);
        }
    }

    /// Takes deliveries for a worker: at most `count`, [`TAKE_MAX`], and its free slots. The waker replaces that of its last
    /// call.
    ///
    /// # Errors
    ///
    /// The worker was removed, or its consumer was.
    pub fn take(&mut self, id: WorkerId, count: usize, now: Now, waker: &Waker) -> Result<Taken, Refused> {
        let topics = &self.topics;
        let Consumers { by_key, registry, wanted, .. } = &mut self.consumers;
        let worker = registry.workers.get(&id);
        let known = worker.and_then(|worker| Some((by_key.get_mut(&worker.consumer)?, worker.free())));
        let Some((consumer, free)) = known else {
            return Err(removed());
        };
        let mut claim = Claim {
            worker: id,
            most: count.min(free).min(TAKE_MAX),
            deliveries: Vec::new(),
            fetched: consumer.fetched.upgrade(),
            wanted: None,
            now,
        };
        let has_turn = free > 0 && consumer.turns.begin(id, consumer.key, registry, now.mono);
        if has_turn && !consumer.is_stopped(registry) {
            claim.ready(consumer, registry, &*self.history);
            if claim.wanted.is_none() && claim.deliveries.len() < claim.most {
                let (topics, after) = (topics.select(&consumer.filters), consumer.position);
                let mut visit = |entry: &Entry| claim.visit(entry, consumer, registry);
                let reached = self.history.walk(&topics, after, SCAN_MAX, &mut visit);
                let reached = reached.unwrap_or(self.head);
                if consumer.position != reached {
                    consumer.position = reached;
                    consumer.note_record(registry);
                }
            }
        }
        let Claim { deliveries, wanted: on_disk, .. } = claim;
        if let Some(seq) = on_disk {
            consumer.wanted = Some(seq);
            let (previous, filters) = (consumer.fetched_upto, consumer.filters.clone());
            wanted.push(WantedEvent { key: consumer.key, seq, previous, filters });
        }
        let is_read = |upto| consumer.position >= upto && consumer.ready.first().is_none_or(|seq| *seq > upto);
        if on_disk.is_some() || is_read(consumer.fetched_upto) {
            // They count towards the bound of their reader until they are dropped.
            consumer.fetched = Weak::new();
        }
        let missed = if has_turn { consumer.missed.take() } else { None };
        if missed.is_some() {
            consumer.note_record(registry);
        }
        let worker = registry.workers.get_mut(&id);
        let is_free = worker.is_some_and(|worker| {
            worker.waker = Some(waker.clone());
            worker.free() > 0
        });
        let may_continue = has_turn && is_free && consumer.turns.waiting.is_empty() && consumer.has_more(registry);
        if !may_continue {
            consumer.turns.wait(id, registry);
            consumer.offer(registry, now.mono);
        }
        self.finish_consumers(now);
        let id = |seq| self.id(seq);
        let missed = missed.map(|(events, from, to)| Missed { events, from: id(from), to: id(to) });
        Ok(Taken { deliveries, missed, next: if may_continue { Next::Ready } else { Next::Waiting } })
    }

    /// Returns true if consumers wait for events that are on disk only.
    pub fn has_wanted_events(&self) -> bool {
        !self.consumers.wanted.is_empty()
    }

    /// Takes the requests of consumers for events that are on disk only. Each needs a call of
    /// [`Bus::hand_over_events`]: until then the consumer delivers nothing.
    pub fn take_wanted_events(&mut self) -> Vec<WantedEvent> {
        std::mem::take(&mut self.consumers.wanted)
    }

    /// Hands over the events that a consumer waits for, and wakes a worker. If they are dropped before they are delivered, the
    /// consumer requests them again.
    pub fn hand_over_events(&mut self, wanted: &WantedEvent, fetched: Weak<Fetched>, now: Now) {
        let Consumers { by_key, registry, .. } = &mut self.consumers;
        let Some(consumer) = by_key.get_mut(&wanted.key) else { return };
        if consumer.wanted == Some(wanted.seq) {
            consumer.fetched_upto = fetched.upgrade().map_or(0, |fetched| fetched.upto);
            (consumer.wanted, consumer.fetched) = (None, fetched);
            consumer.offer(registry, now.mono);
        }
        self.finish_consumers(now);
    }
}

/// The deliveries that a worker takes in one call.
struct Claim {
    worker: WorkerId,
    most: usize,
    deliveries: Vec<Delivery>,
    fetched: Option<Arc<Fetched>>,
    /// The event that is on disk only, at which the claim ends.
    wanted: Option<u64>,
    now: Now,
}

impl Claim {
    /// Takes events that are ready to be delivered again.
    fn ready(&mut self, consumer: &mut Consumer, registry: &mut Registry, history: &dyn History) {
        for _ in 0..SCAN_MAX {
            let is_full = self.deliveries.len() >= self.most || consumer.in_flight >= consumer.settings.max_in_flight;
            let Some(seq) = consumer.ready.first().copied().filter(|_| !is_full) else { return };
            let Some(entry) = history.entry(seq) else {
                consumer.finish(seq, registry);
                consumer.miss(seq, registry);
                continue;
            };
            if entry.expires.is_some_and(|end| end <= self.now.mono) {
                consumer.bury(seq, DeadReason::Expired, registry, self.now.unix);
                continue;
            }
            match locate(entry, self.fetched.as_deref()) {
                Location::Here(event) => self.deliver(seq, event, consumer, registry),
                Location::OnDisk => {
                    self.wanted = Some(seq);
                    return;
                }
                Location::Missing => {
                    consumer.finish(seq, registry);
                    consumer.miss(seq, registry);
                }
            }
        }
    }

    /// Examines the next event of the log. Returns false at the first one that cannot be taken now.
    fn visit(&mut self, entry: &Entry, consumer: &mut Consumer, registry: &mut Registry) -> bool {
        let seq = entry.seq;
        if entry.expires.is_some_and(|end| end <= self.now.mono) {
            consumer.counts.expired += 1;
            registry.finished.push(seq);
            return true;
        }
        if self.deliveries.len() >= self.most || !consumer.has_room(registry) {
            if registry.unfinished >= UNFINISHED_MAX {
                registry.starved.insert(consumer.key);
            }
            return false;
        }
        match locate(entry, self.fetched.as_deref()) {
            Location::Here(event) => {
                if consumer.add(seq, 0, key_of(&event), registry) {
                    self.deliver(seq, event, consumer, registry);
                }
                true
            }
            Location::OnDisk => {
                self.wanted = Some(seq);
                false
            }
            Location::Missing => {
                consumer.miss(seq, registry);
                registry.finished.push(seq);
                true
            }
        }
    }

    fn deliver(&mut self, seq: u64, event: Arc<Event>, consumer: &mut Consumer, registry: &mut Registry) {
        self.deliveries.extend(consumer.deliver(seq, event, self.worker, registry, self.now.mono));
    }
}
