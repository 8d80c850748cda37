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

/// Formats a duration in days, hours, minutes, seconds and milliseconds, in the form that options and configuration accept.
///
/// ```
/// use std::time::Duration;
/// use sse_bus::time::format_duration;
/// assert_eq!(format_duration(Duration::from_millis(90_000_250)), "1d 1h 250ms");
/// assert_eq!(format_duration(Duration::ZERO), "0s");
/// ```
pub fn format_duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), u64::from(duration.subsec_millis()));
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let units = [("d", days), ("h", hours), ("m", minutes), ("s", seconds % 60), ("ms", millis)];
    let shown: Vec<_> =
        units.iter().filter(|(_, number)| *number > 0).map(|(unit, number)| format!("{number}{unit}")).collect();
    if shown.is_empty() { "0s".into() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formatted_duration_can_be_read_again() {
        for millis in [0, 1, 999, 1000, 59_999, 3_600_000, 86_400_000, 40 * 86_400_000 + 1, 1_234_567_890] {
            let duration = Duration::from_millis(millis);
            assert_eq!(humantime::parse_duration(&format_duration(duration)), Ok(duration));
        }
        assert_eq!(format_duration(Duration::from_hours(24)), "1d");
    }

    #[test]
    fn the_time_of_day_is_that_of_the_system() {
        let before = whole_millis(UNIX_EPOCH.elapsed().unwrap());
        let now = unix_now();
        assert!((before..=whole_millis(UNIX_EPOCH.elapsed().unwrap())).contains(&now), "{now}");
    }

    #[test]
    fn a_duration_that_does_not_fit_is_the_longest_one() {
        assert_eq!(whole_millis(Duration::from_micros(1_999)), 1);
        assert_eq!(whole_millis(Duration::MAX), u64::MAX);
    }
}
