//! One consumer: the states of its events, and the transitions between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
};

use super::{
    changes::Changes,
    chores::Cleared,
    delivery::{Delivery, WorkerId},
    event_state::{Counts, Dead, DeadReason, State, Unfinished},
    ids::{ConsumerKey, Timer},
    keys::{KeyHash, Keys},
    mailbox_topic::with_mailbox,
    name::ConsumerName,
    notice::Notice,
    registry::Registry,
    settings::ConsumerSettings,
    turns::Turns,
};
use crate::{
    bus::fetch::Fetched,
    event::Event,
    limits::{DEAD_ALL_MAX, DEAD_MAX, UNFINISHED_MAX},
    protocol::OnFull,
    time::whole_millis,
    topic::FilterSet,
};

/// One consumer.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) key: ConsumerKey,
    pub(super) name: ConsumerName,
    pub(super) settings: ConsumerSettings,
    /// The filters of the settings, and the filter of the consumer's mailbox.
    pub(super) filters: FilterSet,
    /// The sequence number of the last event that the consumer has examined.
    pub(super) position: u64,
    /// The sequence number of the last event that may match the filters; no later one does.
    pub(super) last_matched: u64,
    pub(super) unfinished: BTreeMap<u64, Unfinished>,
    pub(super) in_flight: usize,
    pub(super) ready: BTreeSet<u64>,
    pub(super) keys: Keys,
    pub(super) dead: BTreeMap<u64, Dead>,
    pub(super) is_paused: bool,
    /// True if the consumer holds its unfinished events in history. False after `inactive_after` without a worker.
    pub(super) is_holding: bool,
    /// When the consumer stops holding events. None while it has a worker.
    pub(super) inactive_at: Option<u64>,
    pub(super) workers: usize,
    pub(super) turns: Turns,
    /// The missed events that are not reported yet: how many, and the first and last sequence number.
    pub(super) missed: Option<(u64, u64, u64)>,
    pub(super) counts: Counts,
    /// Events that were read from disk for this consumer.
    pub(super) fetched: Weak<Fetched>,
    /// The end of the range of `fetched`; 0 if nothing was fetched.
    pub(super) fetched_upto: u64,
    /// The number of unfinished moves to another position. The consumer delivers nothing until they are finished.
    pub(super) moves: usize,
    /// The event that is being read from disk. The consumer delivers nothing until it arrives.
    pub(super) wanted: Option<u64>,
    pub(super) changes: Changes,
    /// When the consumer was created, in milliseconds since 1970.
    pub(super) created: u64,
}

impl Consumer {
    /// Returns a consumer that has examined all events up to a position.
    pub(super) fn new(
        key: ConsumerKey,
        name: ConsumerName,
        settings: ConsumerSettings,
        position: u64,
        changes: Changes,
    ) -> Consumer {
        Consumer {
            key,
            filters: with_mailbox(&settings.filters, &name),
            name,
            settings,
            position,
            last_matched: u64::MAX,
            unfinished: BTreeMap::new(),
            in_flight: 0,
            ready: BTreeSet::new(),
            keys: Keys::default(),
            dead: BTreeMap::new(),
            is_paused: false,
            is_holding: true,
            inactive_at: None,
            workers: 0,
            turns: Turns::default(),
            missed: None,
            counts: Counts::default(),
            fetched: Weak::new(),
            fetched_upto: 0,
            moves: 0,
            wanted: None,
            changes,
            created: 0,
        }
    }

    /// Returns true if the consumer still needs this event, which matches its filters: it is not examined, not finished, or
    /// a dead letter. No unfinished event or dead letter is after the position.
    pub(super) fn needs(&self, seq: u64) -> bool {
        seq > self.position || self.unfinished.contains_key(&seq) || self.dead.contains_key(&seq)
    }

    /// Returns true if the consumer holds this event, which matches its filters, and history may not evict it.
    pub(super) fn is_firm_holder(&self, seq: u64) -> bool {
        self.is_holding && self.settings.on_full != OnFull::Drop && self.needs(seq)
    }

    /// Returns a sequence number before which the consumer needs no event.
    pub(super) fn first_needed(&self) -> u64 {
        let (unfinished, dead) = (self.unfinished.keys().next(), self.dead.keys().next());
        [unfinished, dead].into_iter().flatten().copied().fold(self.position + 1, u64::min)
    }

    /// Returns a sequence number before which the consumer has finished all events.
    pub(super) fn floor(&self) -> u64 {
        let ahead = (self.last_matched > self.position).then_some(self.position + 1);
        let (unfinished, dead) = (self.unfinished.keys().next(), self.dead.keys().next());
        ahead.into_iter().chain(unfinished.copied()).chain(dead.copied()).min().unwrap_or(u64::MAX)
    }

    /// Returns true if the consumer currently delivers nothing.
    pub(super) fn is_stopped(&self, registry: &Registry) -> bool {
        let is_full = self.dead.len() >= DEAD_MAX || (registry.dead >= DEAD_ALL_MAX && !self.dead.is_empty());
        self.is_paused || is_full || self.wanted.is_some() || self.moves > 0
    }

    /// Returns true if another event may be examined.
    pub(super) fn has_room(&self, registry: &Registry) -> bool {
        self.unfinished.len() < self.settings.max_in_flight && registry.unfinished < UNFINISHED_MAX
    }

    /// Wakes the next worker if there may be an event for it.
    pub(super) fn offer(&mut self, registry: &mut Registry, now: u64) {
        if !self.turns.waiting.is_empty() && self.has_more(registry) {
            self.turns.call(self.key, registry, now);
        }
    }

    /// Removes a worker from those that wait, and ends its turn.
    pub(super) fn give_up_turn(&mut self, worker: WorkerId, registry: &mut Registry) {
        self.turns.leave(worker, registry);
        if self.turns.current.is_some_and(|(current, _)| current == worker) {
            self.turns.end(self.key, registry);
        }
    }

    /// Returns true if there may be an event for a worker.
    pub(super) fn has_more(&self, registry: &mut Registry) -> bool {
        if self.is_stopped(registry) {
            return false;
        }
        let is_ready = !self.ready.is_empty() && self.in_flight < self.settings.max_in_flight;
        let is_ahead = self.last_matched > self.position && self.unfinished.len() < self.settings.max_in_flight;
        if is_ahead && !is_ready && registry.unfinished >= UNFINISHED_MAX {
            registry.starved.insert(self.key);
            return false;
        }
        is_ready || is_ahead
    }

    /// Adds an event. Returns true if it is ready; it is blocked otherwise.
    pub(super) fn add(&mut self, seq: u64, attempts: u32, key: Option<KeyHash>, registry: &mut Registry) -> bool {
        let is_first = key.is_none_or(|key| self.keys.begin(key, seq));
        let state = if is_first { State::Ready } else { State::Blocked };
        self.unfinished.insert(seq, Unfinished { attempts, key, state, last_worker: None });
        registry.unfinished += 1;
        self.note(seq, registry);
        if is_first {
            self.ready.insert(seq);
        }
        is_first
    }

    /// Begins a delivery of a ready event.
    pub(super) fn deliver(
        &mut self,
        seq: u64,
        event: Arc<Event>,
        worker: WorkerId,
        registry: &mut Registry,
        now: u64,
    ) -> Option<Delivery> {
        let unfinished = self.unfinished.get_mut(&seq)?;
        let worker_state = registry.workers.get_mut(&worker)?;
        worker_state.delivered += 1;
        unfinished.last_worker = Some(worker_state.name.clone());
        self.counts.delivered += 1;
        self.counts.redelivered += u64::from(unfinished.attempts > 0);
        unfinished.attempts += 1;
        let deadline = now.saturating_add(whole_millis(self.settings.ack_wait));
        let token = registry.issue(self.key, seq);
        if let Some(worker) = registry.workers.get_mut(&worker) {
            worker.in_flight.insert(token.number, seq);
        }
        registry.timers.insert((deadline, self.key, Timer::Event(seq)));
        unfinished.state = State::InFlight { token: token.number, worker, deadline };
        let attempt = unfinished.attempts;
        self.ready.remove(&seq);
        self.in_flight += 1;
        self.note(seq, registry);
        Some(Delivery { token, attempt, deadline, event })
    }

    /// Takes an event out of its state.
    fn leave(&mut self, seq: u64, state: State, registry: &mut Registry) {
        registry.forget(self.key, seq, state);
        match state {
            State::InFlight { worker, .. } => {
                self.in_flight -= 1;
                self.turns.wait(worker, registry);
            }
            State::Ready => drop(self.ready.remove(&seq)),
            State::Waiting { .. } | State::Blocked => {}
        }
    }

    /// Makes an event ready now, or at a later time.
    fn put_off(&mut self, seq: u64, due: u64, registry: &mut Registry, now: u64) {
        let Some(unfinished) = self.unfinished.get_mut(&seq) else { return };
        let before = std::mem::replace(&mut unfinished.state, State::Ready);
        self.leave(seq, before, registry);
        if due <= now {
            self.ready.insert(seq);
        } else if let Some(unfinished) = self.unfinished.get_mut(&seq) {
            unfinished.state = State::Waiting { due };
            registry.timers.insert((due, self.key, Timer::Event(seq)));
        }
        self.note(seq, registry);
    }

    /// Removes an event, which is done. The next event of its key becomes ready.
    pub(super) fn finish(&mut self, seq: u64, registry: &mut Registry) -> Option<Unfinished> {
        let unfinished = self.unfinished.remove(&seq)?;
        self.leave(seq, unfinished.state, registry);
        if let Some(next) = unfinished.key.and_then(|key| self.keys.end(key, seq))
            && let Some(blocked) = self.unfinished.get_mut(&next)
        {
            blocked.state = State::Ready;
            self.ready.insert(next);
        }
        registry.unfinished -= 1;
        registry.finished.push(seq);
        self.note_gone(seq, registry);
        Some(unfinished)
    }

    /// Ends an attempt that has failed. The event is delivered again after a delay, or becomes a dead letter.
    pub(super) fn fail(&mut self, seq: u64, delay: Option<u64>, registry: &mut Registry, now: u64, unix: u64) {
        let Some(unfinished) = self.unfinished.get(&seq) else { return };
        if unfinished.attempts >= self.settings.max_attempts {
            return self.bury(seq, DeadReason::Attempts, registry, unix);
        }
        let delay = delay.unwrap_or_else(|| self.settings.backoff_after(unfinished.attempts));
        self.put_off(seq, now.saturating_add(delay), registry, now);
    }

    /// Ends an attempt without counting it.
    pub(super) fn release(&mut self, seq: u64, registry: &mut Registry, now: u64) {
        if let Some(unfinished) = self.unfinished.get_mut(&seq) {
            unfinished.attempts -= 1;
        }
        self.put_off(seq, now, registry, now);
    }

    /// Moves the deadline of a delivery. Returns the new one.
    pub(super) fn extend(&mut self, seq: u64, registry: &mut Registry, now: u64) -> Option<u64> {
        let State::InFlight { deadline, .. } = &mut self.unfinished.get_mut(&seq)?.state else { return None };
        registry.timers.remove(&(*deadline, self.key, Timer::Event(seq)));
        *deadline = now.saturating_add(whole_millis(self.settings.ack_wait));
        registry.timers.insert((*deadline, self.key, Timer::Event(seq)));
        Some(*deadline)
    }

    /// Makes an event a dead letter.
    pub(super) fn bury(&mut self, seq: u64, reason: DeadReason, registry: &mut Registry, unix: u64) {
        let Some(Unfinished { attempts, key, last_worker, .. }) = self.finish(seq, registry) else { return };
        registry.notices.push(Notice {
            seq: Some(seq),
            reason: Some(match &reason {
                DeadReason::Rejected(text) => format!("rejected: {text}"),
                other => other.as_str().to_owned(),
            }),
            attempts: Some(attempts),
            worker: last_worker.as_deref().map(ToOwned::to_owned),
            ..Notice::new("dead", self.name.as_str())
        });
        self.dead.insert(seq, Dead { reason, attempts, worker: last_worker, key, since: unix });
        self.note(seq, registry);
        self.counts.dead += 1;
        registry.dead += 1;
    }

    /// Removes a dead letter.
    pub(super) fn exhume(&mut self, seq: u64, registry: &mut Registry) -> Option<Dead> {
        let dead = self.dead.remove(&seq)?;
        registry.dead -= 1;
        registry.finished.push(seq);
        self.note_gone(seq, registry);
        Some(dead)
    }

    /// Records that an event is no longer in history.
    pub(super) fn miss(&mut self, seq: u64, registry: &mut Registry) {
        self.miss_some(1, seq, seq, registry);
    }

    /// Records that some events in a range are no longer in history.
    pub(super) fn miss_some(&mut self, events: u64, from: u64, to: u64, registry: &mut Registry) {
        if self.missed.is_none() {
            registry.notices.push(Notice { seq: Some(from), ..Notice::new("missed", self.name.as_str()) });
        }
        let (before, first, last) = self.missed.unwrap_or((0, from, to));
        self.missed = Some((before + events, first.min(from), last.max(to)));
        self.counts.missed += events;
        self.note_record(registry);
    }

    /// Removes all unfinished events, without finishing them, and the dead letters after a position. Returns them: the caller
    /// removes their entries in the structures that all consumers share, in steps.
    pub(super) fn clear(&mut self, position: u64) -> Cleared {
        self.keys.clear();
        self.ready.clear();
        self.in_flight = 0;
        self.moves += 1;
        let (unfinished, dead) = (std::mem::take(&mut self.unfinished), self.dead.split_off(&(position + 1)));
        Cleared { consumer: self.key, unfinished, dead, position }
    }

    /// Returns the token of an event in flight.
    pub(super) fn token_of(&self, seq: u64) -> Option<u64> {
        self.unfinished.get(&seq)?.token()
    }

    /// Wakes the next worker for a new event.
    pub(super) fn offer_event(&mut self, seq: u64, registry: &mut Registry, now: u64) {
        self.last_matched = self.last_matched.max(seq);
        self.offer(registry, now);
    }

    /// Schedules when the consumer stops holding events, if it has no worker; cancels this if it has one.
    pub(super) fn watch(&mut self, registry: &mut Registry, now: u64) {
        if let Some(end) = self.inactive_at.take() {
            registry.timers.remove(&(end, self.key, Timer::Inactive));
        }
        if self.workers == 0 && self.is_holding {
            let end = now.saturating_add(whole_millis(self.settings.inactive_after));
            self.inactive_at = Some(end);
            registry.timers.insert((end, self.key, Timer::Inactive));
        }
    }
}
