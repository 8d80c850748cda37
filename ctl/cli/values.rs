//! Parsers for the values of options and arguments.

use std::time::Duration;

use sse_bus::{EventId, Headers, headers::HeadersError, limits::NAME_MAX, time::unix_now, topic::TopicError};

use crate::times;

/// Why a value is invalid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ValueError {
    #[error("unknown option; to use it as data, write `--` before it")]
    UnknownOption,
    #[error("write NAME=VALUE")]
    HeaderWithoutValue,
    #[error(transparent)]
    Header(#[from] HeadersError),
    #[error(transparent)]
    Filter(#[from] TopicError),
    #[error("patterns have `*` for one level and a final `**` for any number of levels; did you mean `{0}`?")]
    ForeignPattern(String),
    #[error(
        "it is none of `now`, `latest`, `all`, an event id, a duration such as `10m`, a time such as `14:00` or \
         `2026-11-30T14:00`, a Unix time"
    )]
    Since,
    #[error("this time is in the future")]
    FutureSince,
    #[error("an interval cannot be zero")]
    ZeroInterval,
    #[error(transparent)]
    Duration(#[from] humantime::DurationError),
    #[error("the name is empty; leave it out instead")]
    EmptyName,
    #[error("the name has {0} bytes; at most {NAME_MAX} are allowed")]
    LongName(usize),
    #[error("the name contains control characters; remove them")]
    NameWithControlCharacters,
}

/// Parses data. It may begin with a dash, but a misspelt option is refused instead of published.
pub(super) fn parse_data(text: &str) -> Result<String, ValueError> {
    let is_option =
        |name: &str| name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains(char::is_whitespace);
    if text.strip_prefix("--").is_some_and(is_option) && !std::env::args_os().any(|argument| argument == "--") {
        return Err(ValueError::UnknownOption);
    }
    Ok(text.to_owned())
}

/// Parses a header, `NAME=VALUE`.
pub(super) fn parse_header(text: &str) -> Result<(String, String), ValueError> {
    let (name, value) = text.split_once('=').ok_or(ValueError::HeaderWithoutValue)?;
    Headers::parse([(name, value)])?;
    Ok((name.into(), value.into()))
}

/// Parses where to start from. A time becomes a duration, which every daemon accepts.
pub(super) fn parse_since(text: &str) -> Result<String, ValueError> {
    let is_duration = humantime::parse_duration(text).is_ok();
    if is_duration || matches!(text, "now" | "latest" | "all") {
        return Ok(text.to_owned());
    }
    let now = unix_now();
    match times::parse(text, now) {
        Some(time) => Ok(format!("{}ms", now.checked_sub(time).ok_or(ValueError::FutureSince)?)),
        None if text.parse::<EventId>().is_ok() => Ok(text.to_owned()),
        None => Err(ValueError::Since),
    }
}

/// Parses a duration that is not zero.
pub(super) fn parse_interval(text: &str) -> Result<Duration, ValueError> {
    match humantime::parse_duration(text)? {
        Duration::ZERO => Err(ValueError::ZeroInterval),
        interval => Ok(interval),
    }
}

/// Parses the name of a token, which is shown in tables and in descriptions of clients.
pub(super) fn parse_name(text: &str) -> Result<String, ValueError> {
    match text {
        "" => Err(ValueError::EmptyName),
        _ if text.len() > NAME_MAX => Err(ValueError::LongName(text.len())),
        _ if text.contains(char::is_control) => Err(ValueError::NameWithControlCharacters),
        _ => Ok(text.into()),
    }
}
