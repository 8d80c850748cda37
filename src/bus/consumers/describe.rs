//! Descriptions of consumers.
//!
//! The events that wait for their first delivery are counted when a description is requested, at most [`SCAN_MAX`] entries of
//! history for each consumer. Most consumers are at the end of the log, where there is nothing to count.

use std::ops::Bound;

use super::{consumer::Consumer, name::ConsumerName};
use crate::{
    bus::{Bus, Now, history::Entry},
    limits::{CONSUMERS_AT_ONCE, SCAN_MAX},
    protocol::{ConsumerInfo, Refused},
    time::format_duration,
};

/// The events of a consumer that wait for their first delivery.
#[derive(Default)]
struct Ahead {
    events: u64,
    /// There may be more.
    has_more: bool,
    /// When the first of them arrived.
    first: Option<u64>,
    /// Maximum number of entries that were examined.
    examined: usize,
}

impl Bus {
    /// Describes a consumer.
    ///
    /// # Errors
    ///
    /// There is no such consumer.
    pub fn describe_consumer(&self, name: &ConsumerName, now: Now) -> Result<ConsumerInfo, Refused> {
        let consumer = &self.consumers.by_key[&self.consumers.find(name)?];
        Ok(self.describe(consumer, &self.count_ahead(consumer, now), now))
    }

    /// Describes the consumers after a name, in order, at most [`CONSUMERS_AT_ONCE`], and fewer if they have very many events
    /// to count. An empty result means that there are no more.
    pub fn consumers_after(&self, name: Option<&ConsumerName>, now: Now) -> Vec<ConsumerInfo> {
        let mut examined = 0;
        let info = |key| {
            let consumer = self.consumers.by_key.get(key).filter(|_| examined < SCAN_MAX)?;
            let ahead = self.count_ahead(consumer, now);
            examined += ahead.examined;
            Some(self.describe(consumer, &ahead, now))
        };
        let after = (name.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let keys = self.consumers.by_name.range::<ConsumerName, _>(after).map(|(_, key)| key);
        keys.take(CONSUMERS_AT_ONCE).map_while(info).collect()
    }

    fn count_ahead(&self, consumer: &Consumer, now: Now) -> Ahead {
        let mut ahead = Ahead::default();
        if consumer.last_matched <= consumer.position {
            return ahead;
        }
        let topics = self.topics.select(&consumer.filters);
        let most = topics.tests_at_once();
        let mut count = |entry: &Entry| {
            if entry.expires.is_none_or(|end| end > now.mono) {
                ahead.first.get_or_insert(entry.arrived_at);
                ahead.events += 1;
            }
            true
        };
        let reached = self.history.walk(&topics, consumer.position, most, &mut count);
        // A test of a pattern may take as long as examining several entries.
        let left = usize::try_from(self.head - consumer.position).unwrap_or(usize::MAX).min(most);
        Ahead { has_more: reached.is_some(), examined: left.saturating_mul(SCAN_MAX / most), ..ahead }
    }

    fn describe(&self, consumer: &Consumer, ahead: &Ahead, now: Now) -> ConsumerInfo {
        let Consumer { settings, counts, unfinished, in_flight, .. } = consumer;
        let first = unfinished.keys().next().and_then(|seq| self.history.entry(*seq)).map(|entry| entry.arrived_at);
        let oldest = first.into_iter().chain(ahead.first).min();
        ConsumerInfo {
            name: consumer.name.to_string(),
            filters: settings.filters.to_strings(),
            ack_wait: format_duration(settings.ack_wait),
            max_attempts: settings.max_attempts,
            backoff: settings.backoff.iter().copied().map(format_duration).collect(),
            max_in_flight: settings.max_in_flight as u64,
            on_full: settings.on_full,
            inactive_after: format_duration(settings.inactive_after),
            position: self.id(consumer.position).to_string(),
            pending: ahead.events,
            pending_exact: !ahead.has_more,
            in_flight: *in_flight as u64,
            waiting: (unfinished.len() - in_flight) as u64,
            dead: consumer.dead.len() as u64,
            workers: consumer.workers as u64,
            oldest_ms: oldest.map(|arrived| now.mono.saturating_sub(arrived)),
            paused: consumer.is_paused,
            holding: consumer.is_holding,
            delivered: counts.delivered,
            redelivered: counts.redelivered,
            acknowledged: counts.acknowledged,
            died: counts.dead,
            expired: counts.expired,
            missed: counts.missed,
            created: consumer.created,
        }
    }
}
