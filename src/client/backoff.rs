//! The waits between attempts to reconnect.

use std::time::Duration;

/// The waits between attempts to reconnect: from `first`, doubling up to `max`. Each wait is shortened at random by up
/// to half, so that the clients of a restarted daemon do not all reconnect at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { first: Duration::from_millis(100), max: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// Returns the wait before an attempt to reconnect, after this number of failed attempts. 0 for the first attempt, whose
    /// [`Item::Reconnecting::attempt`](super::Item::Reconnecting::attempt) is 1.
    pub fn wait(&self, failed: u32) -> Duration {
        let whole = self.first.saturating_mul(1 << failed.min(20)).min(self.max);
        whole.mul_f64(1.0 - fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_maximum_and_are_shortened_by_at_most_half() {
        let backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(10) };
        for attempt in 0..100 {
            let whole = Duration::from_millis(100 << attempt.min(20)).min(backoff.max);
            let wait = backoff.wait(attempt);
            assert!(wait <= whole && wait >= whole / 2, "attempt {attempt}: {wait:?}");
        }
    }
}
