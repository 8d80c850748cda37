//! The steps of [chores](super::chores).

use super::{chores::Offers, delivery::Departure, event_state::State, table::Consumers};
use crate::{
    bus::{Bus, Now},
    limits::{BROADCASTS_MAX, CHORES_AT_ONCE},
};

impl Bus {
    /// Returns true if there is work on consumers to do in steps.
    fn has_chores(&self) -> bool {
        !self.consumers.chores.is_empty() || self.consumers.can_feed_starved()
    }

    /// Does a step of the work on consumers. Returns true if there is more.
    pub(crate) fn finish_some_consumers(&mut self) -> bool {
        if self.has_chores() {
            let left = self.clear_some(CHORES_AT_ONCE);
            let left = self.depart_some(left);
            self.offer_some(left);
            self.finish_consumers(self.consumers.registry.now);
        }
        self.has_chores()
    }

    /// Removes what all consumers share of events that were cleared, and notes them as changed. Returns what is left of the step.
    pub(super) fn clear_some(&mut self, mut left: usize) -> usize {
        let Consumers { by_key, registry, chores, .. } = &mut self.consumers;
        while let Some(cleared) = chores.cleared.last_mut().filter(|_| left > 0) {
            left -= 1;
            let key = cleared.consumer;
            if let Some((seq, unfinished)) = cleared.unfinished.pop_first() {
                registry.forget(key, seq, unfinished.state);
                registry.unfinished -= 1;
                let Some(consumer) = by_key.get_mut(&key) else { continue };
                if let State::InFlight { worker, .. } = unfinished.state {
                    consumer.turns.wait(worker, registry);
                }
                consumer.note_cleared(seq, registry);
                if seq > cleared.position && self.history.entry(seq).is_none() {
                    consumer.miss(seq, registry);
                }
            } else if let Some((seq, _)) = cleared.dead.pop_first() {
                registry.dead -= 1;
                if let Some(consumer) = by_key.get_mut(&key) {
                    consumer.note_cleared(seq, registry);
                }
            } else {
                chores.cleared.pop();
                if let Some(consumer) = by_key.get_mut(&key) {
                    consumer.moves -= 1;
                    consumer.offer(registry, registry.now.mono);
                }
            }
        }
        left
    }

    /// Ends the deliveries of workers that have left. Returns what is left of the step.
    pub(super) fn depart_some(&mut self, mut left: usize) -> usize {
        let Consumers { by_key, registry, chores, .. } = &mut self.consumers;
        while let Some(departed) = chores.departed.last_mut().filter(|_| left > 0) {
            left -= 1;
            let Now { mono, unix } = departed.now;
            let next = departed.in_flight.pop_first();
            let (Some((token, seq)), Some(consumer)) = (next, by_key.get_mut(&departed.consumer)) else {
                chores.departed.pop();
                continue;
            };
            if consumer.token_of(seq) == Some(token) {
                match departed.departure {
                    Departure::Released => consumer.release(seq, registry, mono),
                    Departure::Lost => consumer.fail(seq, None, registry, mono, unix),
                    Departure::Detached => {}
                }
                consumer.offer(registry, mono);
            }
        }
        left
    }

    /// Calls the workers of the consumers in `matching` for the newest event.
    pub(super) fn offer_matching(&mut self, now: Now) {
        let (seq, now) = (self.head, now.mono);
        let Consumers { by_key, registry, chores, matching, .. } = &mut self.consumers;
        if matching.len() <= CHORES_AT_ONCE && chores.offers.is_empty() {
            for key in &*matching {
                if let Some(consumer) = by_key.get_mut(key) {
                    consumer.offer_event(seq, registry, now);
                }
            }
            return;
        }
        chores.offered += 1;
        chores.offers.push_back(Offers { seq, consumers: std::mem::take(matching), now });
        while self.consumers.chores.offers.len() > BROADCASTS_MAX {
            self.offer_some(CHORES_AT_ONCE);
        }
    }

    fn offer_some(&mut self, mut left: usize) {
        let Consumers { by_key, registry, chores, .. } = &mut self.consumers;
        while let Some(offers) = chores.offers.front_mut().filter(|_| left > 0) {
            left -= 1;
            match offers.consumers.pop() {
                Some(key) => {
                    if let Some(consumer) = by_key.get_mut(&key) {
                        consumer.offer_event(offers.seq, registry, offers.now);
                    }
                }
                None => drop(chores.offers.pop_front()),
            }
        }
    }

    /// Returns the number of events so far that were for very many consumers.
    pub(crate) fn offered(&self) -> u64 {
        self.consumers.chores.offered
    }

    /// Returns true if many events wait for consumers whose workers are to be called. Call [`Bus::finish_some`] before the next
    /// publish.
    pub(crate) fn has_many_offers(&self) -> bool {
        self.consumers.chores.offers.len() > BROADCASTS_MAX / 4
    }
}
