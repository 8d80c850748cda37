//! `publish` and `send`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use sse_bus::{Headers, protocol};

use super::parse_interval;
use crate::{completions, exit};

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl publish build/web ok
  echo ok | sse-busctl publish build/web --type done
  tail -f app.log | sse-busctl publish log/app --lines
  sse-busctl publish clock --every 1s --exec date"))]
#[expect(clippy::struct_excessive_bools, reason = "they are flags")]
pub(crate) struct Publish {
    /// The topic, such as `build/web`
    #[arg(required_unless_present = "jsonl", add = completions::topics())]
    pub(crate) topic: Option<String>,
    /// The data; without it, or with `-`, stdin up to its end (one line break at the end is left out)
    #[arg(conflicts_with_all = ["lines", "jsonl", "file", "exec"], allow_hyphen_values = true, value_parser = parse_data)]
    pub(crate) data: Option<String>,
    /// The type, by which a browser dispatches the event
    #[arg(long = "type", value_name = "TYPE", env = "SSE_BUS_PUBLISH_TYPE", hide_env = true)]
    pub(crate) kind: Option<String>,
    /// A header, such as `key=build-7`, beside the data; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_header, env = "SSE_BUS_PUBLISH_HEADER",
        hide_env = true)]
    pub(crate) headers: Vec<(String, String)>,
    /// Publish each line of stdin as one event
    ///
    /// Over a restart of the daemon it connects again, for up to 30 seconds, and sends again what was not answered: no
    /// line is lost, but after a crash some may be published twice. With --ack none nothing is answered, and so nothing is
    /// sent again. The end says how many lines were accepted and, if there were such, how many were not answered.
    #[arg(long, conflicts_with_all = ["jsonl", "file", "every"], env = "SSE_BUS_PUBLISH_LINES", hide_env = true,
        value_parser = BoolishValueParser::new())]
    pub(crate) lines: bool,
    /// Publish each line of stdin, a JSON object with `data` and optional `topic`, `type`, `headers`, `retain`, `ttl_ms`, `to`, `ack`
    ///
    /// `data` may be any JSON value: a string is itself, anything else its JSON text. Over a restart of the daemon as with
    /// --lines.
    #[arg(long, conflicts_with_all = ["file", "every"], env = "SSE_BUS_PUBLISH_JSONL", hide_env = true,
        value_parser = BoolishValueParser::new())]
    pub(crate) jsonl: bool,
    /// With --lines or --jsonl: end when the connection breaks, and send nothing again
    #[arg(long, env = "SSE_BUS_PUBLISH_NO_RECONNECT", hide_env = true, value_parser = BoolishValueParser::new())]
    pub(crate) no_reconnect: bool,
    /// Publish a file as one event, every byte of it
    #[arg(long, value_name = "FILE", conflicts_with = "exec", env = "SSE_BUS_PUBLISH_FILE", hide_env = true)]
    pub(crate) file: Option<PathBuf>,
    /// Keep the event as the topic's last, for those who subscribe later; empty data removes the one that is kept
    #[arg(long, env = "SSE_BUS_PUBLISH_RETAIN", hide_env = true, value_parser = BoolishValueParser::new())]
    pub(crate) retain: bool,
    /// Forget the event after so long, such as `10m`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, env = "SSE_BUS_PUBLISH_TTL",
        hide_env = true)]
    pub(crate) ttl: Option<Duration>,
    /// Send to one client only, by its id or name; live, never from history
    #[arg(long, value_name = "CLIENT", env = "SSE_BUS_PUBLISH_TO", hide_env = true, add = completions::clients())]
    pub(crate) to: Option<String>,
    /// Publish only once so many subscribers listen to the topic
    #[arg(
        long,
        value_name = "N",
        requires = "topic",
        conflicts_with = "to",
        env = "SSE_BUS_PUBLISH_WAIT_FOR",
        hide_env = true
    )]
    pub(crate) wait_for: Option<u64>,
    /// How long --wait-for waits; then nothing is published, and the exit code is 4
    #[arg(long, value_name = "DURATION", requires = "wait_for", value_parser = humantime::parse_duration,
        env = "SSE_BUS_PUBLISH_TIMEOUT", hide_env = true)]
    pub(crate) timeout: Option<Duration>,
    /// When the daemon answers [default: accepted; durable with --retain where history is on disk]
    #[arg(long, value_enum, env = "SSE_BUS_PUBLISH_ACK", hide_env = true)]
    pub(crate) ack: Option<Ack>,
    /// Publish again and again, at this interval
    #[arg(long, value_name = "DURATION", value_parser = parse_interval, env = "SSE_BUS_PUBLISH_EVERY", hide_env = true)]
    pub(crate) every: Option<Duration>,
    /// End after so many times
    #[arg(long, value_name = "N", requires = "every", value_parser = clap::value_parser!(u64).range(1..),
        env = "SSE_BUS_PUBLISH_COUNT", hide_env = true)]
    pub(crate) count: Option<u64>,
    /// With --every: run a shell command each time, its output (without one line break at the end) is the data
    #[arg(long, value_name = "COMMAND", requires = "every", env = "SSE_BUS_PUBLISH_EXEC", hide_env = true)]
    pub(crate) exec: Option<String>,
}

/// When a publish is answered.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Ack {
    /// Never, unless the event is refused
    None,
    /// When the event is in history and on its way
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
    /// The client's id or name
    #[arg(add = completions::clients())]
    pub(crate) client: String,
    /// The data; without it, or with `-`, stdin up to its end (one line break at the end is left out)
    #[arg(allow_hyphen_values = true, value_parser = parse_data)]
    pub(crate) data: Option<String>,
    /// The topic
    #[arg(long, default_value = "direct", env = "SSE_BUS_SEND_TOPIC", hide_env = true, add = completions::topics())]
    pub(crate) topic: String,
    /// The type, by which a browser dispatches the event
    #[arg(long = "type", value_name = "TYPE", env = "SSE_BUS_SEND_TYPE", hide_env = true)]
    pub(crate) kind: Option<String>,
    /// A header, such as `key=build-7`, beside the data; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_header, env = "SSE_BUS_SEND_HEADER",
        hide_env = true)]
    pub(crate) headers: Vec<(String, String)>,
}

/// Data may begin with a dash, but an option that is misspelt is no data.
fn parse_data(text: &str) -> Result<String, String> {
    let is_option =
        |name: &str| name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains(char::is_whitespace);
    if text.strip_prefix("--").is_some_and(is_option) && !std::env::args_os().any(|argument| argument == "--") {
        return Err("there is no such option; if it is the data, write `--` before it".into());
    }
    Ok(text.to_owned())
}

/// `NAME=VALUE`, each legal on its own.
fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Headers::parse([(name, value)]).map_err(|e| e.to_string())?;
    Ok((name.into(), value.into()))
}
