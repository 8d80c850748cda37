//! The command lines of `sse-busctl subscribe` and `sse-busctl history`.

use std::time::Duration;

use clap::{Args, builder::BoolishValueParser};
use sse_bus::protocol::Slow;

use super::{
    completers,
    patterns::parse_pattern,
    since::Since,
    values::{number, parse_duration},
};
use crate::exit;

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl subscribe build/web 'log/**'
  sse-busctl subscribe '**' --since 10m --format json
  sse-busctl subscribe build/web --count 1 --timeout 5m
  sse-busctl subscribe deploy --exec './deploy \"$SSE_BUS_DATA\"'"))]
pub(crate) struct Subscribe {
    /// Topics or patterns: `*` matches one level, a final `**` any number of levels
    #[arg(value_name = "FILTER", default_value = "**", value_parser = parse_pattern, add = completers::topics())]
    pub(crate) filters: Vec<String>,
    /// Start from `now`, `latest` (the newest event of each topic), `all`, an event id, a duration such as `10m`, or a
    /// time: `14:00`, `2026-11-30T14:00`, a Unix time; local unless it ends with a zone or `Z` [default: the retained
    /// events]
    #[arg(long, short = 's', value_name = "START", value_parser = Since::parse,
        env = "SSE_BUS_SUBSCRIBE_SINCE")]
    pub(crate) since: Option<Since>,
    /// Exit after this number of events; a signal before that is a failure
    #[arg(long, short = 'n', value_name = "N", value_parser = number::<u64>(1..=u64::MAX),
        env = "SSE_BUS_SUBSCRIBE_COUNT")]
    pub(crate) count: Option<u64>,
    /// Exit after this time, with exit code 5
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "SSE_BUS_SUBSCRIBE_TIMEOUT")]
    pub(crate) timeout: Option<Duration>,
    /// In text: show times in UTC instead of the local zone
    #[arg(long, env = "SSE_BUS_SUBSCRIBE_UTC", value_parser = BoolishValueParser::new())]
    pub(crate) utc: bool,
    /// In text: show how long ago each event was published
    #[arg(long, conflicts_with = "utc", env = "SSE_BUS_SUBSCRIBE_RELATIVE", value_parser = BoolishValueParser::new())]
    pub(crate) relative: bool,
    /// Instead of printing, run a shell command for each event, one at a time and in order, with the data on stdin and,
    /// up to 100 KiB, in SSE_BUS_DATA; also sets SSE_BUS_TOPIC, SSE_BUS_ID, SSE_BUS_TYPE, SSE_BUS_TIME (ms since 1970)
    #[arg(long, value_name = "COMMAND", env = "SSE_BUS_SUBSCRIBE_EXEC")]
    pub(crate) exec: Option<String>,
    /// A name for this connection, with which other clients can send to it or disconnect it
    #[arg(long, value_name = "NAME", env = "SSE_BUS_SUBSCRIBE_CLIENT")]
    pub(crate) client: Option<String>,
    /// If this client falls behind: `gap` continues from history, `latest` skips to the newest events, `disconnect`
    /// reconnects and resumes
    #[arg(long, default_value = "gap", env = "SSE_BUS_SUBSCRIBE_SLOW")]
    pub(crate) slow: Slow,
    /// Exit if the connection breaks
    #[arg(long, env = "SSE_BUS_SUBSCRIBE_NO_RECONNECT", value_parser = BoolishValueParser::new())]
    pub(crate) no_reconnect: bool,
}

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl history 'log/**' --limit 20
  sse-busctl history build/web --since 14:00
  sse-busctl history --since 1h --format text | grep failed"))]
pub(crate) struct History {
    /// Topics or patterns: `*` matches one level, a final `**` any number of levels
    #[arg(value_name = "FILTER", default_value = "**", value_parser = parse_pattern, add = completers::topics())]
    pub(crate) filters: Vec<String>,
    /// Start from `latest` (the newest event of each topic), `all`, an event id, a duration such as `10m`, or a time:
    /// `14:00`, `2026-11-30T14:00`, a Unix time; local unless it ends with a zone or `Z`
    #[arg(long, short = 's', default_value = "all", value_name = "START", value_parser = Since::parse,
        env = "SSE_BUS_HISTORY_SINCE")]
    pub(crate) since: Since,
    /// Print only the newest N events
    #[arg(long, short = 'n', value_name = "N", value_parser = number::<u64>(1..=u64::MAX),
        env = "SSE_BUS_HISTORY_LIMIT")]
    pub(crate) limit: Option<u64>,
    /// In text: show times in UTC instead of the local zone
    #[arg(long, env = "SSE_BUS_HISTORY_UTC", value_parser = BoolishValueParser::new())]
    pub(crate) utc: bool,
    /// In text: show how long ago each event was published
    #[arg(long, conflicts_with = "utc", env = "SSE_BUS_HISTORY_RELATIVE", value_parser = BoolishValueParser::new())]
    pub(crate) relative: bool,
}
