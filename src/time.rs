//! Times and durations in milliseconds, the unit of the protocol and of stored files.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the time of day in milliseconds since 1970 (UTC), or 0 if the system clock is set to an earlier time.
pub fn unix_now() -> u64 {
    whole_millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Returns a duration in whole milliseconds. A duration that does not fit becomes [`u64::MAX`].
pub fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_that_does_not_fit_is_the_longest_one() {
        assert_eq!(whole_millis(Duration::from_micros(1_999)), 1);
        assert_eq!(whole_millis(Duration::MAX), u64::MAX);
    }
}
