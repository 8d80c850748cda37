//! The self-check of consumers.

use std::collections::{BTreeMap, BTreeSet};

use super::{consumer::Consumer, event_state::State, ids::Timer, table::Consumers};
use crate::bus::{Bus, topics::Topics};

impl Bus {
    /// Computes every counter and index of consumers from scratch, and panics if one differs.
    pub(crate) fn self_check_consumers(&self) {
        let Consumers { by_key, by_name, registry, sweep, chores, .. } = &self.consumers;
        if !chores.is_empty() {
            return;
        }
        let (mut timers, mut tokens, mut slots) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        let (mut filters, mut cost) = (Vec::new(), 0);
        for consumer in by_key.values() {
            let key = consumer.key;
            assert_eq!(by_name.get(&consumer.name), Some(&key), "the consumer {}", consumer.name);
            cost += Topics::cost_of(&consumer.filters);
            filters.extend(consumer.filters.iter().map(|filter| (filter.to_string(), key)));
            for (seq, unfinished) in &consumer.unfinished {
                match unfinished.state {
                    State::InFlight { token, worker, deadline } => {
                        tokens.insert(token, (key, *seq));
                        timers.insert((deadline, key, Timer::Event(*seq)));
                        if registry.workers.contains_key(&worker) {
                            slots.entry(worker).or_insert_with(BTreeMap::new).insert(token, *seq);
                        }
                    }
                    State::Waiting { due } => drop(timers.insert((due, key, Timer::Event(*seq)))),
                    State::Ready | State::Blocked => {}
                }
            }
            timers.extend(consumer.inactive_at.map(|end| (end, key, Timer::Inactive)));
            timers.extend(consumer.turns.current.map(|(_, end)| (end, key, Timer::Turn)));
            let workers = registry.workers.values().filter(|worker| worker.consumer == key).count();
            assert_eq!(consumer.workers, workers, "workers of {}", consumer.name);
            assert!(consumer.position <= self.head, "{} is at {}", consumer.name, consumer.position);
            consumer.self_check();
            self.self_check_calls(consumer);
        }
        assert_eq!(by_name.len(), by_key.len(), "consumers by name");
        assert_eq!(self.consumers.filters_cost(), cost, "cost of the filters of consumers");
        assert_eq!(registry.timers, timers, "timers of consumers");
        let changed = by_key.values().filter(|consumer| consumer.changes.is_dirty).map(|consumer| consumer.key);
        assert_eq!(registry.changed, changed.collect(), "consumers with changes");
        assert_eq!(
            registry.tokens.iter().map(|(token, at)| (*token, *at)).collect::<BTreeMap<_, _>>(),
            tokens,
            "tokens"
        );
        for (id, worker) in &registry.workers {
            assert_eq!(worker.in_flight, slots.remove(id).unwrap_or_default(), "deliveries of {id:?}");
            let turns = by_key.get(&worker.consumer).map(|consumer| &consumer.turns);
            let is_waiting = turns.is_some_and(|turns| turns.waiting.values().any(|waiting| waiting == id));
            assert_eq!(worker.ticket.is_some(), is_waiting, "whether {id:?} waits");
        }
        let unfinished: usize = by_key.values().map(|consumer| consumer.unfinished.len()).sum();
        let dead: usize = by_key.values().map(|consumer| consumer.dead.len()).sum();
        assert_eq!((registry.unfinished, registry.dead), (unfinished, dead), "unfinished events and dead letters");
        let mut indexed = Vec::new();
        self.consumers.index.self_check_list(None, &mut indexed);
        indexed.sort_unstable();
        filters.sort_unstable();
        assert_eq!(indexed, filters, "the index of the filters of consumers");
        if sweep.is_none() {
            self.self_check_held();
        }
    }

    /// Every held event is needed.
    fn self_check_held(&self) {
        for seq in self.history.held_after(0, usize::MAX) {
            let Some(held) = self.history.held(seq) else { panic!("the held event {seq} is not there") };
            let Some(topic) = self.topics.get(held.entry.topic) else { panic!("the topic of the held event {seq}") };
            let needs = |consumer: &&Consumer| {
                consumer.is_holding && consumer.filters.matches(&topic.name) && consumer.needs(seq)
            };
            assert!(
                self.consumers.by_key.values().any(|consumer| needs(&consumer)),
                "no consumer needs the held event {seq}"
            );
        }
    }

    /// While a worker waits and there is something for it, some worker has the turn.
    fn self_check_calls(&self, consumer: &Consumer) {
        let registry = &self.consumers.registry;
        let can_take = consumer.turns.waiting.values().any(|id| registry.workers[id].free() > 0);
        let is_ready = !consumer.ready.is_empty() && consumer.in_flight < consumer.settings.max_in_flight;
        if can_take && is_ready && !consumer.is_stopped(registry) {
            assert!(consumer.turns.current.is_some(), "{} has events and no worker is called", consumer.name);
        }
    }
}

impl Consumer {
    fn self_check(&self) {
        let name = &self.name;
        let (mut ready, mut keys, mut in_flight) = (BTreeSet::new(), BTreeSet::new(), 0);
        for (seq, unfinished) in &self.unfinished {
            in_flight += usize::from(matches!(unfinished.state, State::InFlight { .. }));
            if unfinished.state == State::Ready {
                ready.insert(*seq);
            }
            let is_blocked = unfinished.state == State::Blocked;
            assert!(!is_blocked || unfinished.key.is_some(), "{name}: {seq} is blocked without a key");
            keys.extend(unfinished.key.map(|key| (key, *seq, is_blocked)));
            assert!(!self.dead.contains_key(seq), "{name}: {seq} is unfinished and dead");
            assert!(*seq <= self.position, "{name}: {seq} is unfinished after the position {}", self.position);
            assert!(unfinished.attempts <= self.settings.max_attempts, "{name}: attempts of {seq}");
        }
        assert_eq!(self.ready, ready, "{name}: ready events");
        assert_eq!(self.in_flight, in_flight, "{name}: events in flight");
        assert_eq!(self.keys.self_check_list(), keys, "{name}: keys");
        assert!(in_flight <= self.settings.max_in_flight, "{name}: {in_flight} in flight");
        assert!(self.dead.keys().all(|seq| *seq <= self.position), "{name}: dead letters after {}", self.position);
        self.self_check_changes();
    }
}
