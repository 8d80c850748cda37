//! Outcomes that the daemon has not confirmed, so that an event whose outcome is known is not processed again when it is
//! delivered again.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{held::Key, job::Outcome};

/// Maximum number of remembered outcomes. At the limit no others are remembered, and their events may be processed again.
const MOST: usize = 10_000;
/// How long an outcome is remembered: longer than an event usually waits for its next attempt. Later the event is delivered
/// because somebody asked for it.
const MEMORY: Duration = Duration::from_mins(5);

/// The outcomes of events, as far as the daemon has not confirmed them.
#[derive(Default)]
pub(super) struct Unconfirmed {
    outcomes: HashMap<Key, (Outcome, u32, Instant)>,
}

impl Unconfirmed {
    /// Remembers an outcome. It applies to a delivery of the event with this attempt or a later one.
    pub(super) fn insert(&mut self, key: Key, outcome: Outcome, attempt: u32) {
        if !matches!(outcome, Outcome::Done | Outcome::Rejected(_)) {
            return;
        }
        let now = Instant::now();
        if self.outcomes.len() >= MOST {
            self.outcomes.retain(|_, (_, _, until)| *until > now);
        }
        if self.outcomes.len() < MOST {
            self.outcomes.insert(key, (outcome, attempt, now + MEMORY));
        }
    }

    /// Takes the outcome that applies to a delivery.
    pub(super) fn take(&mut self, key: &str, attempt: u32) -> Option<Outcome> {
        // Usually there are none.
        if self.outcomes.is_empty() {
            return None;
        }
        let (outcome, least, until) = self.outcomes.remove(key)?;
        (attempt >= least && until > Instant::now()).then_some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outcome_applies_to_the_next_delivery_of_its_event() {
        let mut known = Unconfirmed::default();
        known.insert("a-1".into(), Outcome::Done, 2);
        known.insert("a-2".into(), Outcome::Failed("x".into()), 2);
        assert_eq!(known.take("a-2", 2), None, "it is to be processed again");
        assert_eq!(known.take("a-1", 3), Some(Outcome::Done));
        assert_eq!(known.take("a-1", 4), None);
        // The consumer was moved back.
        known.insert("a-1".into(), Outcome::Done, 2);
        assert_eq!(known.take("a-1", 1), None);
        known.insert("a-1".into(), Outcome::Done, 2);
        tokio::time::advance(MEMORY).await;
        assert_eq!(known.take("a-1", 2), None);
    }
}
