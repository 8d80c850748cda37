//! Sizes, times and counts as text for people.

use std::time::Duration;

use sse_bus::time::{format_duration, unix_now};

/// Formats bytes in the largest unit that fits, with at most one decimal: `64 MiB`, `1.5 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let tenths = (value * 10.0).round() / 10.0;
    format!("{tenths} {}", UNITS[unit])
}

/// Formats the time since a point in time, given in milliseconds since 1970.
pub(crate) fn ago(time: u64) -> String {
    match Duration::from_millis(unix_now().saturating_sub(time)) {
        age if age < Duration::from_secs(1) => "now".into(),
        age => format!("{} ago", duration(age)),
    }
}

/// Formats the time until a point in time, given in milliseconds since 1970.
pub(crate) fn until(time: u64) -> String {
    match time.saturating_sub(unix_now()) {
        0 => "expired".into(),
        // Rounded up, so that a token created for one day shows one day.
        rest => duration(Duration::from_secs(rest.div_ceil(1000))),
    }
}

/// Formats a duration in the form that options accept and no finer than needed: `1d 1h`, `5m 20s`, `250ms`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let precision = match seconds {
        0 => return format_duration(duration),
        86_400.. => 3600,
        3600.. => 60,
        _ => 1,
    };
    format_duration(Duration::from_secs(seconds - seconds % precision))
}

/// Formats a number with a noun: `1 event`, `2 events`.
pub(crate) fn count(n: u64, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_short() {
        assert_eq!([size(0), size(1023), size(1536), size(64 << 20)], ["0 B", "1023 B", "1.5 KiB", "64 MiB"]);
        let text = |millis| duration(Duration::from_millis(millis));
        assert_eq!([text(0), text(250), text(1999), text(60_000)], ["0s", "250ms", "1s", "1m"]);
        assert_eq!([text(90_061_000), text(86_401_000), text(40 * 86_400_000)], ["1d 1h", "1d", "40d"]);
        assert_eq!([count(1, "event"), count(0, "event")], ["1 event", "0 events"]);
    }
}
