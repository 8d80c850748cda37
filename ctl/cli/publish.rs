//! The command lines of `sse-busctl publish` and `sse-busctl send`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use sse_bus::protocol;

use super::{
    completers,
    values::{
        number, parse_data, parse_duration, parse_future, parse_header, parse_interval, parse_retry, parse_wanted,
    },
};
use crate::exit;

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl publish build/web ok
  echo ok | sse-busctl publish build/web --type done
  tail -f app.log | sse-busctl publish log/app --lines
  sse-busctl publish clock --every 1s --exec date
  sse-busctl publish wake/me up --in 10m --schedule-id tea"))]
#[expect(clippy::struct_excessive_bools, reason = "they are options")]
pub(crate) struct Publish {
    /// The topic, such as `build/web`
    #[arg(required_unless_present = "jsonl", add = completers::topics())]
    pub(crate) topic: Option<String>,
    /// The data [default: stdin, as with `-`; one line break at the end is removed]
    #[arg(conflicts_with_all = ["lines", "jsonl", "file", "exec"], allow_hyphen_values = true, value_parser = parse_data)]
    pub(crate) data: Option<String>,
    /// The type, by which browsers dispatch the event
    #[arg(long = "type", short = 't', value_name = "TYPE", env = "SSE_BUS_PUBLISH_TYPE")]
    pub(crate) event_type: Option<String>,
    /// A header, such as `key=build-7`; can be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_header, env = "SSE_BUS_PUBLISH_HEADER")]
    pub(crate) headers: Vec<(String, String)>,
    /// Publish each line of stdin as one event
    ///
    /// If the daemon restarts, the command reconnects (see --retry-for) and resends the lines without a reply. With
    /// --ack durable no line is lost and none is published twice, not after a crash either. With --ack accepted a crash
    /// may lose the last lines that were accepted and not yet written to disk; and with history in memory, lines in flight
    /// may be published by both daemons. With --ack none there are no replies, and nothing
    /// is resent. At the end the command prints how many lines were accepted and how many have no reply.
    ///
    /// A program that writes to a pipe may buffer its lines: use `grep --line-buffered`, `sed -u`, `jq --unbuffered` or
    /// `stdbuf -oL PROGRAM`.
    #[arg(long, conflicts_with_all = ["jsonl", "file", "every"], env = "SSE_BUS_PUBLISH_LINES",
        value_parser = BoolishValueParser::new())]
    pub(crate) lines: bool,
    /// Publish each line of stdin, a JSON object with `data` and optional `topic`, `type`, `headers`, `retain`,
    /// `ttl_ms`, `to`, `ack`, `dedup_id`, `in_ms`, `at`, `schedule_id`
    ///
    /// `data` can be any JSON value: a string stands for its content, anything else for its JSON text. A restart of the
    /// daemon is handled as with --lines.
    #[arg(long, conflicts_with_all = ["file", "every"], env = "SSE_BUS_PUBLISH_JSONL",
        value_parser = BoolishValueParser::new())]
    pub(crate) jsonl: bool,
    /// With --lines or --jsonl: exit if the connection breaks, and resend nothing
    #[arg(long, env = "SSE_BUS_PUBLISH_NO_RECONNECT", value_parser = BoolishValueParser::new())]
    pub(crate) no_reconnect: bool,
    /// With --lines or --jsonl: how long to try to reconnect, such as `10m`, or `forever`
    #[arg(long, value_name = "DURATION", value_parser = parse_retry, default_value = "30s", conflicts_with = "no_reconnect",
        env = "SSE_BUS_PUBLISH_RETRY_FOR")]
    pub(crate) retry_for: Duration,
    /// Replace invalid UTF-8 in lines, a file or stdin with U+FFFD, instead of refusing it
    #[arg(long, env = "SSE_BUS_PUBLISH_LOSSY", value_parser = BoolishValueParser::new())]
    pub(crate) lossy: bool,
    /// Publish the whole file as one event
    #[arg(long, value_name = "FILE", conflicts_with = "exec", env = "SSE_BUS_PUBLISH_FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Retain the event as the last one of its topic, for new subscribers; empty data removes the retained event
    #[arg(long, env = "SSE_BUS_PUBLISH_RETAIN", value_parser = BoolishValueParser::new())]
    pub(crate) retain: bool,
    /// Remove the event from history after this time, such as `10m`
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "SSE_BUS_PUBLISH_TTL")]
    pub(crate) ttl: Option<Duration>,
    /// A name for this publish: a repeat on the same topic within two minutes publishes nothing, and prints the first id
    #[arg(long, value_name = "ID", conflicts_with_all = ["lines", "jsonl", "every"], env = "SSE_BUS_PUBLISH_DEDUP_ID")]
    pub(crate) dedup_id: Option<String>,
    /// Publish after this time, such as `10m`
    ///
    /// With history on disk the schedule survives a restart of the daemon, and what became due meanwhile is published at the start.
    #[arg(long = "in", value_name = "DURATION", value_parser = parse_duration,
        conflicts_with_all = ["at", "lines", "jsonl", "every", "to", "wait_for"], env = "SSE_BUS_PUBLISH_IN")]
    pub(crate) delay: Option<Duration>,
    /// Publish at this time, such as `14:00` (the next one), `2026-12-01T09:00`, or a Unix time
    #[arg(long, value_name = "TIME", value_parser = parse_future,
        conflicts_with_all = ["lines", "jsonl", "every", "to", "wait_for"], env = "SSE_BUS_PUBLISH_AT")]
    pub(crate) at: Option<u64>,
    /// With --in or --at: the id of the schedule, which replaces one with the same id [default: a new id]
    #[arg(long, value_name = "ID", env = "SSE_BUS_PUBLISH_SCHEDULE_ID")]
    pub(crate) schedule_id: Option<String>,
    /// Send to one client only, given by id or name, and not store the event in history; or to a consumer, for which it is queued
    #[arg(long, value_name = "CLIENT", env = "SSE_BUS_PUBLISH_TO", add = completers::receivers())]
    pub(crate) to: Option<String>,
    /// Wait until the topic has N subscribers before publishing [default: 1]
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        default_missing_value = "1",
        value_parser = parse_wanted,
        requires = "topic",
        conflicts_with = "to",
        env = "SSE_BUS_PUBLISH_WAIT_FOR"
    )]
    pub(crate) wait_for: Option<u64>,
    /// Maximum time to wait with --wait-for; then nothing is published, and the exit code is 4
    #[arg(long, value_name = "DURATION", requires = "wait_for", value_parser = parse_duration,
        env = "SSE_BUS_PUBLISH_TIMEOUT")]
    pub(crate) timeout: Option<Duration>,
    /// When the daemon answers [default: accepted; durable with --retain if history is on disk]
    #[arg(long, value_enum, env = "SSE_BUS_PUBLISH_ACK")]
    pub(crate) ack: Option<Ack>,
    /// Publish repeatedly, at this interval
    #[arg(long, value_name = "DURATION", value_parser = parse_interval, env = "SSE_BUS_PUBLISH_EVERY")]
    pub(crate) every: Option<Duration>,
    /// With --every: exit after publishing N times
    #[arg(long, short = 'n', value_name = "N", requires = "every", value_parser = number::<u64>(1..=u64::MAX),
        env = "SSE_BUS_PUBLISH_COUNT")]
    pub(crate) count: Option<u64>,
    /// With --every: run a shell command each time and use its output as the data (without one line break at the end)
    #[arg(long, value_name = "COMMAND", requires = "every", env = "SSE_BUS_PUBLISH_EXEC")]
    pub(crate) exec: Option<String>,
}

/// When the daemon answers a publish.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Ack {
    /// Never, unless the event is refused
    None,
    /// When the event is in history and queued for delivery
    Accepted,
    /// When the event is on disk
    Durable,
}

impl From<Ack> for protocol::Ack {
    fn from(ack: Ack) -> protocol::Ack {
        match ack {
            Ack::None => protocol::Ack::None,
            Ack::Accepted => protocol::Ack::Accepted,
            Ack::Durable => protocol::Ack::Durable,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The id or name of the client, or the name of a consumer, for which the event is queued
    #[arg(add = completers::receivers())]
    pub(crate) client: String,
    /// The data [default: stdin, as with `-`; one line break at the end is removed]
    #[arg(allow_hyphen_values = true, value_parser = parse_data)]
    pub(crate) data: Option<String>,
    /// The topic
    #[arg(long, default_value = "direct", env = "SSE_BUS_SEND_TOPIC", add = completers::topics())]
    pub(crate) topic: String,
    /// The type, by which browsers dispatch the event
    #[arg(long = "type", short = 't', value_name = "TYPE", env = "SSE_BUS_SEND_TYPE")]
    pub(crate) event_type: Option<String>,
    /// A header, such as `key=build-7`; can be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_header, env = "SSE_BUS_SEND_HEADER")]
    pub(crate) headers: Vec<(String, String)>,
}
