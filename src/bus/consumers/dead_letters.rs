//! Dead letters: listing, retrying, dropping.

use super::{
    event_state::{Dead, DeadReason},
    name::ConsumerName,
};
use crate::{
    bus::{Bus, Now},
    event::EventId,
    limits::{DEAD_AT_ONCE, DEAD_BYTES_AT_ONCE},
    protocol::{DeadLetter, ErrorCode, Refused},
    topic::FilterSet,
};

/// An operation on dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadOperation {
    /// They become ready to be delivered again, with all of their attempts.
    Retry,
    /// They are removed.
    Drop,
}

/// The result of a step of an operation on many dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadStep {
    /// The number of dead letters that were changed.
    pub changed: u64,
    /// The sequence number of the last event that was examined, after which to continue; None if there are no more.
    pub next: Option<u64>,
}

impl Bus {
    /// Describes the dead letters of a consumer whose sequence numbers are after one: at most [`DEAD_AT_ONCE`], and of those about
    /// [`DEAD_BYTES_AT_ONCE`] bytes. An empty result means that there are no more. Data that is on disk only is left out.
    ///
    /// # Errors
    ///
    /// There is no such consumer.
    pub fn dead_letters(&self, name: &ConsumerName, after: u64) -> Result<Vec<DeadLetter>, Refused> {
        let consumer = &self.consumers.by_key[&self.consumers.find(name)?];
        let mut bytes = 0;
        let describe = |(seq, dead): (&u64, &Dead)| {
            let letter = self.describe_dead(*seq, dead);
            let has_room = bytes < DEAD_BYTES_AT_ONCE;
            bytes += letter.data.as_ref().map_or(0, String::len);
            has_room.then_some(letter)
        };
        Ok(consumer.dead.range(after.saturating_add(1)..).take(DEAD_AT_ONCE).map_while(describe).collect())
    }

    fn describe_dead(&self, seq: u64, dead: &Dead) -> DeadLetter {
        let entry = self.history.entry(seq);
        let text = match &dead.reason {
            DeadReason::Rejected(text) => Some(text.to_string()).filter(|text| !text.is_empty()),
            DeadReason::Attempts | DeadReason::Expired => None,
        };
        DeadLetter {
            id: self.id(seq),
            reason: dead.reason.as_str().to_owned(),
            text,
            attempts: dead.attempts,
            worker: dead.worker.as_deref().map(str::to_owned),
            since: dead.since,
            topic: entry.and_then(|entry| self.topics.get(entry.topic)).map(|topic| topic.name.to_string()),
            data: entry.and_then(|entry| entry.event.as_ref()).map(|event| event.data.clone()),
        }
    }

    /// Retries or drops the dead letter of one event.
    ///
    /// # Errors
    ///
    /// There is no such consumer, or no such dead letter.
    pub fn change_dead(
        &mut self,
        name: &ConsumerName,
        id: EventId,
        operation: DeadOperation,
        now: Now,
    ) -> Result<(), Refused> {
        let is_own = id.epoch == self.epoch;
        let (consumer, registry) = self.consumers.get_mut(name)?;
        let Some(dead) = Some(id.seq).filter(|_| is_own).and_then(|seq| consumer.exhume(seq, registry)) else {
            let message = format!("the consumer `{name}` has no dead letter `{id}`; list them with `dead list {name}`");
            return Err(Refused::new(ErrorCode::DeadUnknown, message));
        };
        if operation == DeadOperation::Retry {
            consumer.add(id.seq, 0, dead.key, registry);
        }
        consumer.offer(registry, now.mono);
        self.finish_consumers(now);
        Ok(())
    }

    /// Retries or drops the dead letters whose sequence numbers are after one and whose topics match, or all of them without
    /// filters, in a bounded step: at most [`DEAD_AT_ONCE`] are examined.
    ///
    /// # Errors
    ///
    /// There is no such consumer.
    pub fn change_dead_after(
        &mut self,
        name: &ConsumerName,
        after: u64,
        filters: Option<&FilterSet>,
        operation: DeadOperation,
        now: Now,
    ) -> Result<DeadStep, Refused> {
        let consumer = &self.consumers.by_key[&self.consumers.find(name)?];
        let examined: Vec<u64> =
            consumer.dead.range(after.saturating_add(1)..).take(DEAD_AT_ONCE).map(|(seq, _)| *seq).collect();
        let next = examined.last().copied().filter(|_| examined.len() == DEAD_AT_ONCE);
        let topic_of = |seq| self.topics.get(self.history.entry(seq)?.topic);
        let is_selected =
            |seq: &u64| filters.is_none_or(|filters| topic_of(*seq).is_some_and(|topic| filters.matches(&topic.name)));
        let selected: Vec<u64> = examined.into_iter().filter(is_selected).collect();
        for seq in &selected {
            self.change_dead(name, self.id(*seq), operation, now)?;
        }
        Ok(DeadStep { changed: selected.len() as u64, next })
    }
}
