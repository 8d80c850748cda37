//! Settling deliveries, by their tokens.

use super::{
    delivery::{Settlement, Token},
    event_state::DeadReason,
    name::ConsumerName,
    table::Consumers,
};
use crate::{
    bus::{Bus, Now},
    limits::{DELAY_MAX, REASON_MAX},
    protocol::{ErrorCode, Refused},
    time::{format_duration, whole_millis},
    topic::FilterSet,
};

impl Bus {
    /// Returns the filters of the consumer of a current token, to authorize a settlement.
    pub fn filters_of_delivery(&self, token: Token) -> Option<&FilterSet> {
        let (key, _) = self.consumers.registry.find(token)?;
        self.consumers.by_key.get(&key).map(|consumer| &consumer.settings.filters)
    }

    /// Returns the name of the consumer of a current token.
    pub fn consumer_of_delivery(&self, token: Token) -> Option<&ConsumerName> {
        let (key, _) = self.consumers.registry.find(token)?;
        self.consumers.by_key.get(&key).map(|consumer| &consumer.name)
    }

    /// Settles a delivery. Returns the new deadline if the worker extends it.
    ///
    /// # Errors
    ///
    /// `stale_delivery`: the delivery was settled before, its deadline has passed, or its consumer was moved or deleted.
    /// `request_invalid`: the delay exceeds [`DELAY_MAX`].
    pub fn settle(&mut self, token: Token, settlement: Settlement, now: Now) -> Result<Option<u64>, Refused> {
        if let Settlement::Nak(Some(delay)) = settlement
            && delay > whole_millis(DELAY_MAX)
        {
            let message = format!("a delay of {delay} ms is more than {}", format_duration(DELAY_MAX));
            return Err(Refused::new(ErrorCode::RequestInvalid, message));
        }
        let Consumers { by_key, registry, .. } = &mut self.consumers;
        let known = registry.find(token).and_then(|(key, seq)| Some((by_key.get_mut(&key)?, seq)));
        // A deadline may have passed before the tick that notices it.
        let current =
            known.filter(|(consumer, seq)| consumer.deadline(*seq).is_some_and(|deadline| deadline > now.mono));
        let Some((consumer, seq)) = current else {
            let message = format!(
                "the delivery `{token}` is no longer current: it was settled, its deadline has passed, or the consumer was \
                 moved or deleted"
            );
            return Err(Refused::new(ErrorCode::StaleDelivery, message));
        };
        let mut deadline = None;
        match settlement {
            Settlement::Ack => {
                consumer.finish(seq, registry);
                consumer.counts.acknowledged += 1;
            }
            Settlement::Nak(delay) => consumer.fail(seq, delay, registry, now.mono, now.unix),
            Settlement::Extend => deadline = consumer.extend(seq, registry, now.mono),
            Settlement::Reject(mut text) => {
                text.truncate(text.floor_char_boundary(REASON_MAX));
                consumer.bury(seq, DeadReason::Rejected(text.into()), registry, now.unix);
            }
            Settlement::Release => consumer.release(seq, registry, now.mono),
        }
        consumer.offer(registry, now.mono);
        self.finish_consumers(now);
        Ok(deadline)
    }
}
