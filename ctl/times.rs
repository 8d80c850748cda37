//! Times of day: how they are shown, and how `--since` reads them.

use jiff::{
    Timestamp, ZonedDateTime,
    civil::{DateTime, Time},
    tz::TimeZone,
};
use sse_bus::time::unix_now;

use crate::units::ago;

/// How the time of an event is shown.
#[derive(Clone, Debug)]
pub(crate) enum Times {
    /// The time of day, with the date unless it is today. In UTC it ends with `Z`.
    Zone(TimeZone),
    /// How long ago it was.
    Relative,
}

impl Times {
    /// Returns the style that options request: the local time by default.
    pub(crate) fn new(is_utc: bool, is_relative: bool) -> Times {
        match (is_utc, is_relative) {
            (_, true) => Times::Relative,
            (true, _) => Times::Zone(TimeZone::UTC),
            (false, false) => Times::Zone(TimeZone::system()),
        }
    }

    /// Formats a time, given in milliseconds since 1970.
    pub(crate) fn format(&self, time: u64) -> String {
        match self {
            Times::Relative => ago(time),
            Times::Zone(zone) => in_zone(time, unix_now(), zone),
        }
    }
}

/// Formats a time in a zone, without its date if that is the current one.
fn in_zone(time: u64, now: u64, zone: &TimeZone) -> String {
    let Some((time, now)) = zoned(time, zone).zip(zoned(now, zone)) else { return "an unknown time".into() };
    let suffix = if *zone == TimeZone::UTC { "Z" } else { "" };
    let format = if time.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    format!("{}{suffix}", time.strftime(format))
}

fn zoned(time: u64, zone: &TimeZone) -> Option<ZonedDateTime> {
    let time = Timestamp::from_millisecond(i64::try_from(time).ok()?).ok()?;
    Some(time.to_zoned_datetime(zone.clone()))
}

/// Reads a time: a time of day such as `14:00`, a date with or without a time in ISO 8601, or a Unix time in seconds or
/// milliseconds. A time of day is the most recent one. Without a zone it is the local time. Returns milliseconds since
/// 1970.
pub(crate) fn parse(text: &str, now: u64) -> Option<u64> {
    let time = in_milliseconds(text, &zoned(now, &TimeZone::system())?)?;
    u64::try_from(time).ok()
}

/// Reads a time like [`parse`], except that a time of day is the next one.
pub(crate) fn parse_next(text: &str, now: u64) -> Option<u64> {
    let now = zoned(now, &TimeZone::system())?;
    let time = in_milliseconds(text, &now)?;
    let is_time_of_day = text.contains(':') && !text.contains('-');
    let time = if is_time_of_day { next_day(time, &now)? } else { time };
    u64::try_from(time).ok()
}

/// Returns the same time of day on the next day.
fn next_day(time: i64, now: &ZonedDateTime) -> Option<i64> {
    let time = Timestamp::from_millisecond(time).ok()?.to_zoned_datetime(now.time_zone().clone());
    Some(time.tomorrow().ok()?.timestamp().as_millisecond())
}

fn in_milliseconds(text: &str, now: &ZonedDateTime) -> Option<i64> {
    /// Shorter numbers are no recent Unix times.
    const SECONDS_DIGITS: usize = 9;
    const MILLISECONDS_DIGITS: usize = 12;
    if text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() >= SECONDS_DIGITS {
        let number: i64 = text.parse().ok()?;
        return if text.len() >= MILLISECONDS_DIGITS { Some(number) } else { number.checked_mul(1000) };
    }
    if text.contains(':') && !text.contains('-') {
        let (time, now) = match text.strip_suffix(['Z', 'z']) {
            Some(time) => (time, now.with_time_zone(TimeZone::UTC)),
            None => (text, now.clone()),
        };
        let time: Time = time.parse().ok()?;
        let today = now.date().to_datetime(time).to_zoned_datetime(now.time_zone().clone()).ok()?;
        let last = if today > now { today.yesterday().ok()? } else { today };
        return Some(last.timestamp().as_millisecond());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_millisecond());
    }
    let local: DateTime = text.parse().ok()?;
    Some(local.to_zoned_datetime(now.time_zone().clone()).ok()?.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-07-01 12:00:00 UTC, 14:00:00 in Berlin.
    const NOON: i64 = 1_782_907_200_000;

    fn berlin() -> TimeZone {
        // The rule itself, so that the test needs no database of time zones.
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    #[test]
    fn the_date_is_shown_unless_it_is_today() {
        let shown = |ago: i64, zone| in_zone((NOON - ago).cast_unsigned(), NOON.cast_unsigned(), &zone);
        assert_eq!(shown(1000, berlin()), "13:59:59");
        assert_eq!(shown(1000, TimeZone::UTC), "11:59:59Z");
        assert_eq!(shown(13 * 3_600_000, berlin()), "01:00:00");
        assert_eq!(shown(13 * 3_600_000, TimeZone::UTC), "2026-06-30 23:00:00Z");
        assert_eq!(shown(180 * 86_400_000, berlin()), "2026-01-02 13:00:00");
    }

    #[test]
    fn times_are_read_in_the_usual_forms() {
        let now = zoned(NOON.cast_unsigned(), &berlin()).unwrap();
        let hour = 3_600_000;
        for (text, after_noon) in [
            ("13:00", -hour),
            ("13:00:30", -hour + 30_000),
            ("14:01", -24 * hour + 60_000),
            ("11:00Z", -hour),
            ("2026-07-01", -14 * hour),
            ("2026-07-01T13:00", -hour),
            ("2026-07-01 13:00:00", -hour),
            ("2026-07-01T11:00Z", -hour),
            ("2026-07-01T11:00:00.5+00:00", -hour + 500),
            ("2026-07-01T06:00-05:00", -hour),
            ("2026-01-01T14:00", -181 * 24 * hour + hour),
            ("1782907200", 0),
            ("1782907200123", 123),
        ] {
            assert_eq!(in_milliseconds(text, &now), Some(NOON + after_noon), "{text}");
        }
        for text in ["", "14", "1400", "25:00", "soon", "2026-13-01", "10m", "k3f9x0ab-3", ":", "14:00+02:00x"] {
            assert_eq!(in_milliseconds(text, &now), None, "{text}");
        }
    }
}
