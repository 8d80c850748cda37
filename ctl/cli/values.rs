//! Parsers for the values of options and arguments.

use std::time::Duration;

use bytesize::ByteSize;
pub(super) use sse_bus::values::{number, parse_duration};
use sse_bus::{
    Headers, headers::HeadersError, limits::NAME_MAX, time::unix_now, topic::TopicError, values::InvalidValue,
};

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
    #[error("write a time such as `14:00` or `2026-11-30T14:00`, or a Unix time")]
    Time,
    #[error("this time is in the future")]
    FutureSince,
    #[error("an interval cannot be zero")]
    ZeroInterval,
    #[error(transparent)]
    Invalid(#[from] InvalidValue),
    #[error("not a number; before other arguments, write --wait-for=1")]
    WaitFor,
    #[error("write whole seconds, `1s` to `10m`")]
    BenchDuration,
    #[error("write a size from `1B` to `1MiB`")]
    BenchSize,
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

/// Parses a time, in milliseconds since 1970. A time of day is the next one.
pub(super) fn parse_future(text: &str) -> Result<u64, ValueError> {
    times::parse_next(text, unix_now()).ok_or(ValueError::Time)
}

/// Parses a duration that is not zero.
pub(super) fn parse_interval(text: &str) -> Result<Duration, ValueError> {
    match parse_duration(text)? {
        Duration::ZERO => Err(ValueError::ZeroInterval),
        interval => Ok(interval),
    }
}

/// Parses how long to try again: a duration or `forever`.
pub(super) fn parse_retry(text: &str) -> Result<Duration, InvalidValue> {
    if text == "forever" { Ok(Duration::MAX) } else { parse_duration(text) }
}

/// Parses the number of subscribers to wait for.
pub(super) fn parse_wanted(text: &str) -> Result<u64, ValueError> {
    text.parse().map_err(|_| ValueError::WaitFor)
}

/// Parses the duration of a benchmark: whole seconds, up to ten minutes. A number without a unit is in seconds.
pub(super) fn parse_bench_duration(text: &str) -> Result<Duration, ValueError> {
    const LONGEST: u64 = 600;
    let duration = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => parse_duration(text)?,
    };
    match duration.as_secs() {
        1..=LONGEST if duration.subsec_nanos() == 0 => Ok(duration),
        _ => Err(ValueError::BenchDuration),
    }
}

/// Parses the size of the events of a benchmark.
pub(super) fn parse_bench_size(text: &str) -> Result<u64, ValueError> {
    const LARGEST: u64 = 1 << 20;
    match text.parse().map(|ByteSize(bytes)| bytes) {
        Ok(bytes @ 1..=LARGEST) => Ok(bytes),
        _ => Err(ValueError::BenchSize),
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
