//! Sizes, times and counts as text for people.

use std::time::Duration;

use sse_bus::time::unix_now;

/// Formats bytes in the largest unit that fits.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
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

/// Formats a duration in whole seconds, with its two largest units.
pub(crate) fn duration(duration: Duration) -> String {
    let whole = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    whole.split(' ').take(2).collect::<Vec<_>>().join(" ")
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
        assert_eq!([size(0), size(1023), size(1536), size(64 << 20)], ["0 B", "1023 B", "1.5 KiB", "64.0 MiB"]);
        assert_eq!(duration(Duration::from_secs(90_061)), "1day 1h");
        assert_eq!([count(1, "event"), count(0, "event")], ["1 event", "0 events"]);
    }
}
