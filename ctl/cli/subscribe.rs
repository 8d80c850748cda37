//! The command lines of `sse-busctl subscribe` and `sse-busctl history`.

use std::time::Duration;

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use sse_bus::protocol::Slow;

use super::completers;
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
    #[arg(required = true, value_name = "FILTER", add = completers::topics())]
    pub(crate) filters: Vec<String>,
    /// Start from `now`, `latest` (the newest event of each topic), `all`, an event id, or a duration such as `10m`
    /// [default: the retained events]
    #[arg(long, env = "SSE_BUS_SUBSCRIBE_SINCE", hide_env = true)]
    pub(crate) since: Option<String>,
    /// Exit after this number of events; a signal before that is a failure
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), env = "SSE_BUS_SUBSCRIBE_COUNT",
        hide_env = true)]
    pub(crate) count: Option<u64>,
    /// Exit after this time, with exit code 5
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, env = "SSE_BUS_SUBSCRIBE_TIMEOUT",
        hide_env = true)]
    pub(crate) timeout: Option<Duration>,
    /// Output format [default: readable text on a terminal, otherwise json]
    #[arg(long, value_enum, env = "SSE_BUS_SUBSCRIBE_FORMAT", hide_env = true, conflicts_with = "exec")]
    pub(crate) format: Option<Format>,
    /// Instead of printing, run a shell command for each event, one at a time and in order, with the data on stdin and,
    /// up to 100 KiB, in SSE_BUS_DATA; also sets SSE_BUS_TOPIC, SSE_BUS_ID, SSE_BUS_TYPE, SSE_BUS_TIME (ms since 1970)
    #[arg(long, value_name = "COMMAND", env = "SSE_BUS_SUBSCRIBE_EXEC", hide_env = true)]
    pub(crate) exec: Option<String>,
    /// A name for this connection, with which other clients can send to it or disconnect it
    #[arg(long, value_name = "NAME", env = "SSE_BUS_SUBSCRIBE_CLIENT", hide_env = true)]
    pub(crate) client: Option<String>,
    /// If this client falls behind: `gap` continues from history, `latest` skips to the newest events, `disconnect`
    /// reconnects and resumes
    #[arg(long, default_value = "gap", env = "SSE_BUS_SUBSCRIBE_SLOW", hide_env = true)]
    pub(crate) slow: Slow,
    /// Exit if the connection breaks
    #[arg(long, env = "SSE_BUS_SUBSCRIBE_NO_RECONNECT", hide_env = true, value_parser = BoolishValueParser::new())]
    pub(crate) no_reconnect: bool,
}

/// The output format of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The data and a line break
    Data,
    /// `{"id","topic","type","time","headers","data"}` per line; `headers` only if there are any
    Json,
    /// Server-Sent Events, as received by browsers
    Sse,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Topics or patterns: `*` matches one level, a final `**` any number of levels
    #[arg(required = true, value_name = "FILTER", add = completers::topics())]
    pub(crate) filters: Vec<String>,
    /// Start from `latest` (the newest event of each topic), `all`, an event id, or a duration such as `10m`
    #[arg(long, default_value = "all", env = "SSE_BUS_HISTORY_SINCE", hide_env = true)]
    pub(crate) since: String,
    /// Print only the newest N events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), env = "SSE_BUS_HISTORY_LIMIT",
        hide_env = true)]
    pub(crate) limit: Option<u64>,
    /// Output format [default: readable text on a terminal, otherwise json]
    #[arg(long, value_enum, env = "SSE_BUS_HISTORY_FORMAT", hide_env = true)]
    pub(crate) format: Option<Format>,
}
