//! Holding events that the bounds of history evict, until every consumer has finished them.

use super::table::Consumers;
use crate::{
    bus::{
        Bus, Now,
        history::{Entry, HeldEvent},
    },
    limits::EVICT_MAX,
    protocol::{ErrorCode, OnFull, Refused},
    topic::Topic,
};

/// What consumers need of an event that history has evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// No consumer needs it.
    None,
    /// Only consumers with `on_full = "drop"` need it.
    Droppable,
    /// It must be held.
    Firm,
}

impl Bus {
    /// Evicts events that exceed the bounds of history, in a bounded step, and holds those that consumers need.
    pub(crate) fn expire_history(&mut self, now: Now) {
        self.history.expire(now.mono);
        self.settle_evicted(now);
    }

    /// Holds the events that were evicted since the last call, if consumers need them.
    pub(crate) fn settle_evicted(&mut self, now: Now) -> Vec<u64> {
        let mut gone = Vec::new();
        let evicted = self.history.take_evicted();
        if evicted.is_empty() {
            return gone;
        }
        let floor = self.consumers.floor();
        for entry in evicted {
            match if entry.seq < floor { Need::None } else { self.need_of(&entry) } {
                need @ (Need::Droppable | Need::Firm) if !self.expires_unseen(&entry, now) => {
                    self.history.hold(HeldEvent { entry, is_droppable: need == Need::Droppable });
                }
                _ => {
                    if entry.seq >= floor {
                        self.report_missed(&entry, now);
                    }
                    self.history.forget(entry.seq);
                    gone.push(entry.seq);
                }
            }
        }
        self.drop_some(now);
        self.publish_notices(now);
        gone
    }

    /// Returns true if an event has expired before any consumer has examined it.
    fn expires_unseen(&mut self, entry: &Entry, now: Now) -> bool {
        if entry.expires.is_none_or(|end| end > now.mono) {
            return false;
        }
        self.find_consumers_of(entry);
        let Consumers { by_key, matching, .. } = &self.consumers;
        let is_seen =
            |key| by_key.get(key).is_some_and(|consumer| consumer.position >= entry.seq && consumer.needs(entry.seq));
        !matching.iter().any(is_seen)
    }

    /// Returns what consumers need of an event.
    fn need_of(&mut self, entry: &Entry) -> Need {
        let Some(topic) = self.topics.get(entry.topic) else { return Need::None };
        // Nearly always it is the consumer that has needed the last event, and the others are not searched.
        let last = self.consumers.last_holder.and_then(|key| self.consumers.by_key.get(&key));
        if last.is_some_and(|last| last.is_firm_holder(entry.seq) && last.filters.matches(&topic.name)) {
            return Need::Firm;
        }
        self.consumers.find_matching(&topic.name);
        let Consumers { by_key, matching, last_holder, .. } = &mut self.consumers;
        let mut need = Need::None;
        for consumer in matching.iter().filter_map(|key| by_key.get(key)) {
            if consumer.is_firm_holder(entry.seq) {
                *last_holder = Some(consumer.key);
                return Need::Firm;
            }
            if consumer.is_holding && consumer.needs(entry.seq) {
                need = Need::Droppable;
            }
        }
        need
    }

    /// Sets `matching` to the consumers with the topic of an event.
    fn find_consumers_of(&mut self, entry: &Entry) {
        self.consumers.matching.clear();
        if let Some(topic) = self.topics.get(entry.topic) {
            self.consumers.find_matching(&topic.name);
        }
    }

    /// Records the loss of an event for the consumers that need it. Those that have it in flight notice when they are to deliver
    /// it again.
    fn report_missed(&mut self, entry: &Entry, now: Now) {
        self.find_consumers_of(entry);
        let Consumers { by_key, matching, registry, .. } = &mut self.consumers;
        for key in &*matching {
            let Some(consumer) = by_key.get_mut(key).filter(|consumer| consumer.needs(entry.seq)) else { continue };
            if entry.seq <= consumer.position {
                if consumer.exhume(entry.seq, registry).is_some() {
                    consumer.miss(entry.seq, registry);
                }
            } else if entry.expires.is_some_and(|end| end <= now.mono) {
                consumer.counts.expired += 1;
                consumer.note_record(registry);
            } else {
                consumer.miss(entry.seq, registry);
            }
        }
    }

    /// Drops the oldest events that may be dropped, while the held events exceed their share of the budget.
    fn drop_some(&mut self, now: Now) {
        for _ in 0..EVICT_MAX {
            let share = self.history.retention().budget / 2;
            if self.history.held_bytes() <= share {
                return;
            }
            let Some(entry) = self.history.oldest_droppable().cloned() else { return };
            // A consumer that was created or moved since may need it, too.
            if self.need_of(&entry) == Need::Firm {
                self.history.set_droppable(entry.seq, false);
                continue;
            }
            self.report_missed(&entry, now);
            self.history.release(entry.seq);
        }
    }

    /// Releases a held event that no consumer holds any more.
    fn release_held(&mut self, seq: u64, now: Now) {
        let Some(held) = self.history.held(seq) else { return };
        let (entry, is_droppable) = (held.entry.clone(), held.is_droppable);
        match self.need_of(&entry) {
            Need::None => {
                // A consumer that has stopped to hold events may need it still.
                self.report_missed(&entry, now);
                self.history.release(seq);
            }
            need if (need == Need::Droppable) != is_droppable => {
                self.history.set_droppable(seq, need == Need::Droppable);
            }
            _ => {}
        }
    }

    /// Examines some held events for whether a consumer needs them, after consumers were moved or deleted.
    pub(crate) fn sweep_held(&mut self, now: Now) {
        let Some(after) = self.consumers.sweep else { return };
        let seqs = self.history.held_after(after, EVICT_MAX);
        self.consumers.sweep = seqs.last().copied().filter(|_| seqs.len() == EVICT_MAX);
        let floor = self.consumers.floor();
        for seq in seqs {
            if seq < floor {
                self.history.release(seq);
            } else {
                self.release_held(seq, now);
            }
        }
        if self.consumers.is_empty() && self.consumers.sweep.is_none() {
            self.history.keep_evicted(false);
        }
    }

    /// Refuses a publish to a topic of a consumer that holds events, if there is no room for more of them.
    pub(crate) fn refuse_to_hold(&mut self, topic: &Topic, cost: usize, now: Now) -> Result<(), Refused> {
        let share = self.history.retention().budget / 2;
        if self.consumers.is_empty() || self.history.held_bytes() + cost <= share {
            return Ok(());
        }
        self.sweep_held(now);
        let bytes = self.history.held_bytes();
        let Some(last) = self.history.last_held().filter(|_| bytes + cost > share) else { return Ok(()) };
        self.consumers.find_matching(topic);
        let Consumers { by_key, matching, .. } = &self.consumers;
        let holders = matching.iter().filter_map(|key| by_key.get(key));
        let holders = holders.filter(|consumer| consumer.is_holding && consumer.settings.on_full == OnFull::Refuse);
        let furthest =
            holders.filter(|consumer| consumer.floor() <= last).min_by_key(|consumer| (consumer.floor(), consumer.key));
        let Some(consumer) = furthest else { return Ok(()) };
        let (name, dead) = (&consumer.name, consumer.dead.len());
        let message = format!(
            "history is full of events that consumers have not acknowledged ({bytes} bytes, half of the budget is {share}), and \
             the consumer `{name}` is the furthest behind, with {dead} dead letters; start workers with `work {name}`, retry or \
             drop dead letters with `dead drop {name}`, delete the consumer, or raise the budget"
        );
        Err(Refused::new(ErrorCode::LimitHistory, message))
    }

    /// Calls the workers of the consumers of a new event.
    pub(crate) fn offer_published(&mut self, topic: &Topic, now: Now) {
        self.consumers.registry.now = now;
        self.consumers.find_matching(topic);
        self.offer_matching(now);
        self.wakeups.woken.append(&mut self.consumers.registry.woken);
    }

    /// Records for the consumers of a new event that it is not in history.
    pub(crate) fn report_passed_over(&mut self, topic: &Topic) {
        self.consumers.find_matching(topic);
        let Consumers { by_key, matching, registry, .. } = &mut self.consumers;
        for key in &*matching {
            if let Some(consumer) = by_key.get_mut(key) {
                consumer.miss(self.head, registry);
            }
        }
    }

    /// Ends an operation on consumers: releases what they have finished, publishes announcements, and wakes workers.
    pub(super) fn finish_consumers(&mut self, now: Now) {
        self.consumers.registry.now = now;
        let finished = std::mem::take(&mut self.consumers.registry.finished);
        if self.history.held_bytes() > 0 {
            for seq in finished {
                self.release_held(seq, now);
            }
        }
        self.consumers.feed_starved(now.mono);
        self.publish_notices(now);
        self.wakeups.woken.append(&mut self.consumers.registry.woken);
    }
}
