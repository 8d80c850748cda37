//! The command lines of `sse-busctl request` and `sse-busctl reply`.

use std::time::Duration;

use clap::{Args, builder::BoolishValueParser};
use sse_bus::limits::{REPLIES_MAX, RESPONDER_SLOTS_MAX};

use super::{
    completers,
    patterns::parse_pattern,
    values::{parse_data, parse_duration, parse_header},
};
use crate::exit;

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl request math/sum '1 2'
  sse-busctl request math/sum --timeout 2s < numbers
  sse-busctl request workers/ping --replies 10 --timeout 1s --json"))]
pub(crate) struct Request {
    /// The topic, such as `math/sum`
    #[arg(add = completers::topics())]
    pub(crate) topic: String,
    /// The data [default: stdin, as with `-`; one line break at the end is removed]
    #[arg(allow_hyphen_values = true, value_parser = parse_data)]
    pub(crate) data: Option<String>,
    /// Maximum time to wait for the reply; then the exit code is 5
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = parse_duration,
        env = "SSE_BUS_REQUEST_TIMEOUT")]
    pub(crate) timeout: Duration,
    /// Send it to up to N responders, and print the replies that arrive in time
    #[arg(long, value_name = "N", default_value_t = 1, env = "SSE_BUS_REQUEST_REPLIES",
        value_parser = clap::value_parser!(u64).range(1..=REPLIES_MAX as u64))]
    pub(crate) replies: u64,
    /// The type
    #[arg(long = "type", short = 't', value_name = "TYPE", env = "SSE_BUS_REQUEST_TYPE")]
    pub(crate) event_type: Option<String>,
    /// A header, such as `key=build-7`; can be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_header, env = "SSE_BUS_REQUEST_HEADER")]
    pub(crate) headers: Vec<(String, String)>,
}

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl reply 'math/*' --exec ./sum.sh
  sse-busctl reply images/resize --exec 'convert - -resize 50% -' -j 4"))]
pub(crate) struct Reply {
    /// Topics or patterns of the requests: `*` matches one level, a final `**` any number of levels
    #[arg(value_name = "FILTER", required = true, value_parser = parse_pattern, add = completers::topics())]
    pub(crate) filters: Vec<String>,
    /// A shell command that runs for each request, with the data on stdin and, up to 100 KiB, in SSE_BUS_DATA; also sets
    /// SSE_BUS_TOPIC, SSE_BUS_TYPE, SSE_BUS_TIME (ms since 1970)
    ///
    /// Its output, without one line break at the end, is the reply. If it fails, the request fails. It is ended when the
    /// time of the request has ended.
    #[arg(long, value_name = "COMMAND", env = "SSE_BUS_REPLY_EXEC")]
    pub(crate) exec: String,
    /// Number of requests to answer at the same time
    #[arg(long, short = 'j', value_name = "N", default_value_t = 1, env = "SSE_BUS_REPLY_JOBS",
        value_parser = clap::value_parser!(u64).range(1..=RESPONDER_SLOTS_MAX as u64))]
    pub(crate) jobs: u64,
    /// A name for this connection, which requesters see
    #[arg(long, value_name = "NAME", env = "SSE_BUS_REPLY_CLIENT")]
    pub(crate) client: Option<String>,
    /// Exit if the connection breaks
    #[arg(long, env = "SSE_BUS_REPLY_NO_RECONNECT", value_parser = BoolishValueParser::new())]
    pub(crate) no_reconnect: bool,
}
