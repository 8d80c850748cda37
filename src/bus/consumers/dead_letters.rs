//! Dead letters: listing, retrying, dropping.

use super::{event_state::Dead, info::DeadLetter, name::ConsumerName};
use crate::{
    bus::{Bus, Now},
    limits::DEAD_AT_ONCE,
    protocol::{ErrorCode, Refused},
};

impl Bus {
    /// Describes the dead letters of a consumer with numbers after the first one given, at most [`DEAD_AT_ONCE`]. An empty
    /// result means that there are no more.
    ///
    /// # Errors
    ///
    /// There is no such consumer.
    pub fn dead_letters(&self, name: &ConsumerName, after: u64) -> Result<Vec<DeadLetter>, Refused> {
        let consumer = &self.consumers.by_key[&self.consumers.find(name)?];
        let describe = |(seq, dead): (&u64, &Dead)| DeadLetter {
            id: self.id(*seq),
            reason: dead.reason.clone(),
            attempts: dead.attempts,
            worker: dead.worker.clone(),
            since: dead.since,
            event: self.history.entry(*seq).and_then(|entry| entry.event.clone()),
        };
        Ok(consumer.dead.range(after.saturating_add(1)..).take(DEAD_AT_ONCE).map(describe).collect())
    }

    /// Makes a dead letter ready to be delivered again, with all of its attempts. To retry many, call it for each.
    ///
    /// # Errors
    ///
    /// There is no such consumer, or no such dead letter.
    pub fn retry_dead(&mut self, name: &ConsumerName, seq: u64, now: Now) -> Result<(), Refused> {
        let (consumer, registry) = self.consumers.get_mut(name)?;
        let Some(dead) = consumer.exhume(seq, registry) else { return Err(unknown(name, seq)) };
        consumer.add(seq, 0, dead.key, registry);
        consumer.offer(registry, now.mono);
        self.finish_consumers(now);
        Ok(())
    }

    /// Removes a dead letter. To drop many, call it for each.
    ///
    /// # Errors
    ///
    /// There is no such consumer, or no such dead letter.
    pub fn drop_dead(&mut self, name: &ConsumerName, seq: u64, now: Now) -> Result<(), Refused> {
        let (consumer, registry) = self.consumers.get_mut(name)?;
        if consumer.exhume(seq, registry).is_none() {
            return Err(unknown(name, seq));
        }
        consumer.offer(registry, now.mono);
        self.finish_consumers(now);
        Ok(())
    }
}

fn unknown(name: &ConsumerName, seq: u64) -> Refused {
    let message = format!("the consumer `{name}` has no dead letter {seq}; list them with `dead list {name}`");
    Refused::new(ErrorCode::DeadUnknown, message)
}
