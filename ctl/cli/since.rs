//! `--since`: where to start from.

use std::time::{Duration, UNIX_EPOCH};

use sse_bus::{
    EventId,
    protocol::EventMessage,
    time::{format_duration, unix_now},
};

use super::values::ValueError;
use crate::times;

/// How much earlier than a time the daemon begins, because its clock may differ and the request takes a while.
const MARGIN: Duration = Duration::from_mins(1);

/// Where to start from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Since {
    /// The start in the form that the daemon accepts. For a time, the daemon begins earlier.
    pub(crate) start: String,
    /// The earliest time of an event, in milliseconds since 1970.
    earliest: u64,
}

impl Since {
    /// Parses a start of the daemon, or a time.
    pub(super) fn parse(text: &str) -> Result<Since, ValueError> {
        let is_duration = humantime::parse_duration(text).is_ok();
        if is_duration || matches!(text, "now" | "latest" | "all") {
            return Ok(Since { start: text.into(), earliest: 0 });
        }
        let now = unix_now();
        match times::parse(text, now) {
            Some(time) => {
                let age = Duration::from_millis(now.checked_sub(time).ok_or(ValueError::FutureSince)?);
                Ok(Since { start: format_duration(age.saturating_add(MARGIN)), earliest: time })
            }
            None if text.parse::<EventId>().is_ok() => Ok(Since { start: text.into(), earliest: 0 }),
            None => Err(ValueError::Since),
        }
    }

    /// Returns true if an event is from before the requested time.
    pub(crate) fn is_before(&self, event: &EventMessage) -> bool {
        event.time < self.earliest
    }
}

/// Parses a position of a consumer, and returns it in the form that the daemon accepts.
pub(super) fn parse_position(text: &str) -> Result<String, ValueError> {
    let since = Since::parse(text)?;
    Ok(if since.earliest == 0 {
        since.start
    } else {
        humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(since.earliest)).to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_begins_earlier_and_is_then_exact() {
        let time = unix_now() - 10_000;
        let since = Since::parse(&time.to_string()).unwrap();
        let age = humantime::parse_duration(&since.start).unwrap();
        assert!(age >= MARGIN + Duration::from_secs(10), "{age:?}");
        let at = |time| EventMessage::new(None, "t", "", time);
        assert!(since.is_before(&at(time - 1)) && !since.is_before(&at(time)));
    }

    #[test]
    fn the_position_of_a_consumer_is_exact() {
        assert_eq!(parse_position("1782907200123").unwrap(), "2026-07-01T12:00:00.123Z");
        assert_eq!(parse_position("2026-07-01T14:00+02:00").unwrap(), "2026-07-01T12:00:00.000Z");
        for text in ["now", "latest", "all", "10m", "k3f9x0ab-3"] {
            assert_eq!(parse_position(text).unwrap(), text);
        }
        assert!(matches!(parse_position("soon"), Err(ValueError::Since)));
    }

    #[test]
    fn everything_else_is_for_the_daemon() {
        for text in ["now", "latest", "all", "10m", "1d 2h", "k3f9x0ab-3"] {
            let since = Since::parse(text).unwrap();
            assert_eq!((&*since.start, since.earliest), (text, 0));
        }
        assert!(matches!(Since::parse("soon"), Err(ValueError::Since)));
        assert!(matches!(Since::parse("2999-01-01"), Err(ValueError::FutureSince)));
    }
}
