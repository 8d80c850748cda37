//! The settings of a consumer, and where it begins.

use std::time::Duration;

use crate::{
    event::EventId,
    limits::{BACKOFF_MAX, DELAY_MAX, IN_FLIGHT_MAX},
    protocol::{ErrorCode, OnFull, Refused},
    time::{format_duration, whole_millis},
    topic::FilterSet,
};

/// The settings of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// The topics of its events.
    pub filters: FilterSet,
    /// Time from a delivery to its deadline. At least a millisecond.
    pub ack_wait: Duration,
    /// Number of attempts after which an event becomes a dead letter. At least 1.
    pub max_attempts: u32,
    /// Time until the next attempt, after the first failure, the second, and so on; the last value also applies to all later
    /// ones. At most [`BACKOFF_MAX`] values; none means that the next attempt follows at once.
    pub backoff: Vec<Duration>,
    /// Maximum number of events that are in flight or wait to be delivered again. 1 to [`IN_FLIGHT_MAX`].
    pub max_in_flight: usize,
    /// What happens when history is full.
    pub on_full: OnFull,
    /// How long the consumer holds events without a worker.
    pub inactive_after: Duration,
}

impl ConsumerSettings {
    /// Returns the default settings for some topics.
    pub fn new(filters: FilterSet) -> ConsumerSettings {
        ConsumerSettings {
            filters,
            ack_wait: Duration::from_secs(30),
            max_attempts: 5,
            backoff: vec![Duration::from_secs(1), Duration::from_secs(10), Duration::from_mins(1)],
            max_in_flight: 1000,
            on_full: OnFull::Refuse,
            inactive_after: Duration::from_hours(7 * 24),
        }
    }

    /// Refuses settings outside of their bounds.
    pub(super) fn check(&self) -> Result<(), Refused> {
        let refuse = |what: String| Err(Refused::new(ErrorCode::ConsumerInvalid, what));
        if self.ack_wait < Duration::from_millis(1) {
            return refuse("`ack_wait` is less than a millisecond; a worker needs time to acknowledge an event".into());
        }
        if self.max_attempts == 0 {
            return refuse("`max_attempts` is 0; an event needs at least one attempt".into());
        }
        if !(1..=IN_FLIGHT_MAX).contains(&self.max_in_flight) {
            let have = self.max_in_flight;
            return refuse(format!("`max_in_flight` is {have}; use 1 to {IN_FLIGHT_MAX}"));
        }
        if self.backoff.len() > BACKOFF_MAX {
            let have = self.backoff.len();
            return refuse(format!(
                "`backoff` has {have} values; use at most {BACKOFF_MAX}, the last applies to later ones"
            ));
        }
        let times = self.backoff.iter().map(|time| ("a `backoff`", time)).chain([("`ack_wait`", &self.ack_wait)]);
        if let Some((field, long)) = { times }.find(|(_, time)| **time > DELAY_MAX) {
            let (long, most) = (format_duration(*long), format_duration(DELAY_MAX));
            return refuse(format!("{field} is {long}; use at most {most}"));
        }
        if self.on_full == OnFull::Other {
            return refuse("`on_full` has an unknown value; use `refuse` or `drop`".into());
        }
        if self.filters.iter().any(|filter| filter.as_str().starts_with('$')) {
            return refuse(
                "the bus's own events are live only, so a consumer cannot have them; use other filters".into(),
            );
        }
        Ok(())
    }

    /// Returns how these settings differ from others: `ack_wait` is 30s, not 1m.
    pub fn difference(&self, other: &ConsumerSettings) -> String {
        let fields = self.texts().into_iter().zip(other.texts());
        let differ = fields.filter(|((_, own), (_, other))| own != other);
        let texts: Vec<_> = differ.map(|((name, own), (_, other))| format!("`{name}` is {own}, not {other}")).collect();
        texts.join(", ")
    }

    /// Returns each field with its value as text.
    fn texts(&self) -> [(&'static str, String); 7] {
        let list = |texts: Vec<String>| if texts.is_empty() { "empty".into() } else { texts.join(",") };
        let filters = self.filters.iter().map(|filter| filter.as_str().to_owned()).collect();
        let backoff = self.backoff.iter().copied().map(format_duration).collect();
        [
            ("filters", list(filters)),
            ("ack_wait", format_duration(self.ack_wait)),
            ("max_attempts", self.max_attempts.to_string()),
            ("backoff", list(backoff)),
            ("max_in_flight", self.max_in_flight.to_string()),
            ("on_full", self.on_full.to_string()),
            ("inactive_after", format_duration(self.inactive_after)),
        ]
    }

    /// Returns the time until the next attempt, in milliseconds, after this number of failures.
    pub fn backoff_after(&self, failures: u32) -> u64 {
        let step = (failures.max(1) as usize - 1).min(self.backoff.len().saturating_sub(1));
        self.backoff.get(step).map_or(0, |backoff| whole_millis(*backoff))
    }
}

/// A position in the log, at which a consumer begins or continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// After the newest event.
    Now,
    /// Before the oldest event of history.
    All,
    /// Before the newest event of history.
    Latest,
    /// After the event with an id.
    After(EventId),
    /// At the first event of the last period.
    Last(Duration),
    /// At the first event that was published at a time or later, in milliseconds since 1970.
    Since(u64),
}
