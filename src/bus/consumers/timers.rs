//! Deadlines, back-off, inactivity and turns.

use super::{consumer::Consumer, event_state::State, ids::Timer, notice::Notice, registry::Registry, table::Consumers};
use crate::{
    bus::{Bus, Now},
    limits::CALLS_MAX,
};

impl Bus {
    /// Returns when the next timer of a consumer ends, as a part of [`Bus::next_timeout`]: workers set timers at any time.
    pub fn next_consumer_timer(&self) -> Option<u64> {
        if self.consumers.sweep.is_some() {
            return Some(0);
        }
        self.consumers.registry.timers.first().map(|(time, ..)| *time)
    }

    /// Runs the timers that have ended, in a bounded step.
    pub(crate) fn tick_consumers(&mut self, now: Now) {
        if self.consumers.is_empty() && self.consumers.sweep.is_none() {
            return;
        }
        self.sweep_held(now);
        let Consumers { by_key, registry, sweep, .. } = &mut self.consumers;
        for _ in 0..CALLS_MAX {
            let Some((time, key, timer)) = registry.timers.pop_first() else { break };
            if time > now.mono {
                registry.timers.insert((time, key, timer));
                break;
            }
            let Some(consumer) = by_key.get_mut(&key) else { continue };
            match timer {
                Timer::Event(seq) => consumer.event_timer(seq, registry, now),
                Timer::Turn => consumer.turns.current = None,
                Timer::Inactive => {
                    (consumer.inactive_at, consumer.is_holding) = (None, false);
                    registry.notices.push(Notice::new("inactive", consumer.name.as_str()));
                    *sweep = Some(0);
                }
            }
            consumer.offer(registry, now.mono);
        }
        self.finish_consumers(now);
    }
}

impl Consumer {
    /// Returns the deadline of an event in flight.
    pub(super) fn deadline(&self, seq: u64) -> Option<u64> {
        match self.unfinished.get(&seq)?.state {
            State::InFlight { deadline, .. } => Some(deadline),
            _ => None,
        }
    }

    /// Ends the attempt whose deadline has passed, or the back-off.
    fn event_timer(&mut self, seq: u64, registry: &mut Registry, now: Now) {
        let Some(unfinished) = self.unfinished.get_mut(&seq) else { return };
        if let State::Waiting { .. } = unfinished.state {
            unfinished.state = State::Ready;
            self.ready.insert(seq);
        } else {
            self.fail(seq, None, registry, now.mono, now.unix);
        }
    }
}
