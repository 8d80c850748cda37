//! The command line of `sse-busctl work`.

use std::time::Duration;

use clap::{Args, builder::BoolishValueParser};
use sse_bus::limits::IN_FLIGHT_MAX;

use super::{
    completers,
    values::{number, parse_duration, parse_interval},
};
use crate::exit;

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Exit codes of the command of --exec:
  0      the event is done
  65     the event cannot be processed: it becomes a dead letter, with the command's last
         line on stderr as the reason
  other  the attempt has failed: the event is delivered again after the back-off of the
         consumer (75 is the customary code), until its attempts are exhausted

Examples:
  sse-busctl work thumbs --exec ./thumb.sh -j 4
  sse-busctl work mail --exec './send.sh \"$SSE_BUS_ATTEMPT\"' --timeout 1m
  sse-busctl work rows --exec './insert.py' --batch 100
  sse-busctl work thumbs"))]
pub(crate) struct Work {
    /// The name of the consumer
    #[arg(value_name = "NAME", add = completers::consumers())]
    pub(crate) name: String,
    /// A shell command that runs for each event, with the data on stdin and, up to 100 KiB, in SSE_BUS_DATA; also sets
    /// SSE_BUS_TOPIC, SSE_BUS_ID, SSE_BUS_TYPE, SSE_BUS_TIME (ms since 1970), SSE_BUS_ATTEMPT, SSE_BUS_CONSUMER
    ///
    /// The delivery is extended while the command runs. Without this option, deliveries are printed as JSON lines, and each is
    /// answered by a line on stdin: {"ack":TOKEN}, {"nak":TOKEN,"delay_ms":N}, {"extend":TOKEN}, {"reject":TOKEN,"reason":TEXT}
    /// or {"release":TOKEN}, with a token or a list of tokens. The end of stdin releases those without an answer.
    #[arg(long, value_name = "COMMAND", env = "SSE_BUS_WORK_EXEC")]
    pub(crate) exec: Option<String>,
    /// Number of commands that run at the same time; without --exec, of deliveries without an answer
    #[arg(long, short = 'j', value_name = "N", default_value_t = 1, env = "SSE_BUS_WORK_JOBS",
        value_parser = clap::value_parser!(u64).range(1..=IN_FLIGHT_MAX as u64))]
    pub(crate) jobs: u64,
    /// Exit after this number of deliveries is answered; a signal before that is a failure
    #[arg(long, short = 'n', value_name = "N", value_parser = number::<u64>(1..=u64::MAX), env = "SSE_BUS_WORK_COUNT")]
    pub(crate) count: Option<u64>,
    /// End a command that runs longer, with its process group: SIGTERM, and after 2 s SIGKILL; the attempt has failed
    #[arg(long, value_name = "DURATION", requires = "exec", value_parser = parse_interval, env = "SSE_BUS_WORK_TIMEOUT")]
    pub(crate) timeout: Option<Duration>,
    /// After SIGINT or SIGTERM, how long to wait for commands that run; then they are ended, and their events are released
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration, env = "SSE_BUS_WORK_GRACE")]
    pub(crate) grace: Duration,
    /// Run one command for up to N events, which are JSON lines on its stdin; its exit code is for all of them
    #[arg(long, value_name = "N", requires = "exec", value_parser = clap::value_parser!(u64).range(1..=IN_FLIGHT_MAX as u64),
        env = "SSE_BUS_WORK_BATCH")]
    pub(crate) batch: Option<u64>,
    /// A name for this connection, which dead letters show
    #[arg(long, value_name = "NAME", env = "SSE_BUS_WORK_CLIENT")]
    pub(crate) client: Option<String>,
    /// Exit if the connection breaks
    #[arg(long, env = "SSE_BUS_WORK_NO_RECONNECT", value_parser = BoolishValueParser::new())]
    pub(crate) no_reconnect: bool,
}
