//! Parsing the settings of a consumer from a request. An error names the field, its value, and what to write.

use std::time::{Duration, UNIX_EPOCH};

use super::settings::{ConsumerSettings, SeekTo};
use crate::{
    bus::request::invalid,
    event::EventId,
    protocol::{ConsumerConfig, ErrorCode, Refused},
    time::whole_millis,
    topic::{Filter, FilterSet},
};

impl ConsumerSettings {
    /// Parses the settings of a consumer, and where it begins.
    ///
    /// # Errors
    ///
    /// There is no filter, or a field is invalid or outside of its bounds.
    pub fn parse(config: &ConsumerConfig) -> Result<(ConsumerSettings, SeekTo), Refused> {
        let ConsumerConfig { filters, from, ack_wait, max_attempts, backoff, max_in_flight, on_full, inactive_after } =
            config;
        if filters.is_empty() {
            let message = "a consumer needs at least one filter in `filters`, such as `jobs/**`";
            return Err(Refused::new(ErrorCode::ConsumerInvalid, message));
        }
        // The error names the invalid filter, not the whole list.
        for filter in filters {
            Filter::parse(filter).map_err(|e| invalid(ErrorCode::FilterInvalid, "filter", filter, &e))?;
        }
        let refuse = |e| Refused::new(ErrorCode::FilterInvalid, format!("a filter cannot be used: {e}"));
        let mut settings = ConsumerSettings::new(FilterSet::parse(filters).map_err(refuse)?);
        if let Some(text) = ack_wait {
            settings.ack_wait = duration("`ack_wait`", text)?;
        }
        if let Some(attempts) = max_attempts {
            settings.max_attempts = *attempts;
        }
        if let Some(times) = backoff {
            settings.backoff = times.iter().map(|text| duration("`backoff`", text)).collect::<Result<_, _>>()?;
        }
        if let Some(events) = max_in_flight {
            settings.max_in_flight = usize::try_from(*events).unwrap_or(usize::MAX);
        }
        if let Some(on_full) = on_full {
            settings.on_full = *on_full;
        }
        if let Some(text) = inactive_after {
            settings.inactive_after = duration("`inactive_after`", text)?;
        }
        settings.check()?;
        let from = from.as_deref().map_or(Ok(SeekTo::Now), |text| SeekTo::parse("`from`", text))?;
        Ok((settings, from))
    }
}

fn duration(field: &str, text: &str) -> Result<Duration, Refused> {
    humantime::parse_duration(text).map_err(|_| {
        let what = "write a duration such as `30s`, `5m` or `1h30m`";
        invalid(ErrorCode::ConsumerInvalid, field, text, &what)
    })
}

impl SeekTo {
    /// Parses `now`, `latest`, `all`, an event id, a duration such as `10m`, or a time in UTC such as `2026-12-01T08:00:00Z`.
    /// `field` names the text in an error.
    ///
    /// # Errors
    ///
    /// The text is none of these.
    pub fn parse(field: &str, text: &str) -> Result<SeekTo, Refused> {
        let period = || humantime::parse_duration(text).ok().map(SeekTo::Last);
        let time = || {
            let since = humantime::parse_rfc3339_weak(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
            Some(SeekTo::Since(whole_millis(since)))
        };
        match text {
            "now" => Ok(SeekTo::Now),
            "latest" => Ok(SeekTo::Latest),
            "all" => Ok(SeekTo::All),
            _ => text.parse::<EventId>().ok().map(SeekTo::After).or_else(period).or_else(time).ok_or_else(|| {
                let what = "write `now`, `latest`, `all`, an event id, a duration such as `10m`, or a time in UTC such as \
                            `2026-12-01T08:00:00Z`";
                invalid(ErrorCode::SinceInvalid, field, text, &what)
            }),
        }
    }
}
