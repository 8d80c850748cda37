//! The command line, as clap reads it. What a flag means is said here, once, for `--help` and the man pages.
//!
//! Every flag has an environment variable: `SSE_BUS_SOCKET` and `SSE_BUS_JSON` for all commands, and
//! `SSE_BUS_<COMMAND>_<FLAG>` for a command's own. The command stands in the name because `--exec` gives its children
//! `SSE_BUS_TYPE` and the like, which must not become flags of a `sse-busctl` that the child runs.

// The comments are help texts, where backticks around every name would be noise.
#![allow(clippy::doc_markdown)]

mod docs;
mod doctor;
mod publish;
mod service;
mod status;
mod token;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, builder::BoolishValueParser};
use sse_bus::protocol::Slow;

pub(crate) use self::{
    docs::{Completions, Man, Shell},
    doctor::Doctor,
    publish::{Publish, Send},
    service::{Manager, Service, ServiceDo, ServiceInstall, ServiceLogs},
    status::Status,
    token::{Token, TokenCreate, TokenDo},
};
use crate::{completions, exit};

/// Talk to the local event bus: publish, subscribe, look and manage.
#[derive(Debug, Parser)]
#[command(name = "sse-busctl", version = env!("SSE_BUS_VERSION"), max_term_width = 100, after_long_help = exit::with_codes("\
Examples:
  sse-busctl subscribe '**'
  sse-busctl publish hello world
  sse-busctl status"))]
#[command(disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The daemon's local socket [default: the one of this user]
    #[arg(
        long,
        global = true,
        help_heading = "For every command",
        value_name = "PATH",
        env = "SSE_BUS_SOCKET",
        hide_env_values = true
    )]
    pub(crate) socket: Option<PathBuf>,
    /// Print one JSON value a line, also on a terminal
    #[arg(long, global = true, help_heading = "For every command", env = "SSE_BUS_JSON", value_parser = BoolishValueParser::new(), hide_env_values = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Do,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Do {
    /// Publish an event, the lines of a stream, or something again and again
    Publish(Box<Publish>),
    /// Receive events as they come
    Subscribe(Subscribe),
    /// Send an event to one client only
    Send(Send),
    /// List the connected clients
    Clients,
    /// List the topics
    Topics,
    /// Describe the daemon
    Status(Status),
    /// Disconnect a client
    Kick(Kick),
    /// Print past events and end
    History(History),
    /// Print the URL of a stream, for curl and browsers
    Url(Url),
    /// Make, list and revoke tokens, for other users and other machines
    Token(Token),
    /// Measure the bus on this machine
    Bench(Bench),
    /// Have the bus run whenever you are logged in, as a service of your user
    Service(Service),
    /// Look for what is wrong, and say what mends it
    Doctor(Doctor),
    /// Print what completes commands, topics and clients in a shell
    Completions(Completions),
    /// Write the man pages
    Man(Man),
}

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl subscribe build/web 'log/**'
  sse-busctl subscribe '**' --since 10m --format json
  sse-busctl subscribe build/web --count 1 --timeout 5m
  sse-busctl subscribe deploy --exec './deploy \"$SSE_BUS_DATA\"'"))]
pub(crate) struct Subscribe {
    /// Topics, or patterns: `*` is one level, `**` at the end any number of levels
    #[arg(required = true, value_name = "FILTER", add = completions::topics())]
    pub(crate) filters: Vec<String>,
    /// Where to begin: `now`, `latest` (the newest event of each topic), `all`, an event's id, or a duration such as
    /// `10m` [default: the retained events]
    #[arg(long, env = "SSE_BUS_SUBSCRIBE_SINCE", hide_env = true)]
    pub(crate) since: Option<String>,
    /// End after so many events; a signal before that is a failure
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), env = "SSE_BUS_SUBSCRIBE_COUNT",
        hide_env = true)]
    pub(crate) count: Option<u64>,
    /// End after so long, with exit code 5
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, env = "SSE_BUS_SUBSCRIBE_TIMEOUT",
        hide_env = true)]
    pub(crate) timeout: Option<Duration>,
    /// How events are printed [default: for people on a terminal, else json]
    #[arg(long, value_enum, env = "SSE_BUS_SUBSCRIBE_FORMAT", hide_env = true, conflicts_with = "exec")]
    pub(crate) format: Option<Format>,
    /// Instead of printing, run a shell command for each event, one at a time and in order: the data on its stdin and,
    /// up to 100 KiB, in SSE_BUS_DATA; also SSE_BUS_TOPIC, SSE_BUS_ID, SSE_BUS_TYPE, SSE_BUS_TIME (ms since 1970)
    #[arg(long, value_name = "COMMAND", env = "SSE_BUS_SUBSCRIBE_EXEC", hide_env = true)]
    pub(crate) exec: Option<String>,
    /// A name for this connection, by which others can send to it and kick it
    #[arg(long, value_name = "NAME", env = "SSE_BUS_SUBSCRIBE_CLIENT", hide_env = true)]
    pub(crate) client: Option<String>,
    /// When this end falls behind: `gap` goes on from history, `latest` jumps to now, `disconnect` comes back later
    #[arg(long, default_value = "gap", env = "SSE_BUS_SUBSCRIBE_SLOW", hide_env = true)]
    pub(crate) slow: Slow,
    /// End when the connection breaks
    #[arg(long, env = "SSE_BUS_SUBSCRIBE_NO_RECONNECT", hide_env = true, value_parser = BoolishValueParser::new())]
    pub(crate) no_reconnect: bool,
}

/// How events are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The data and a line break
    Data,
    /// One line of `{"id","topic","type","time","headers","data"}`; without headers that field is left out
    Json,
    /// As browsers receive them
    Sse,
}

#[derive(Debug, Args)]
pub(crate) struct Kick {
    /// The client's id or name
    #[arg(add = completions::clients())]
    pub(crate) client: String,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Topics, or patterns: `*` is one level, `**` at the end any number of levels
    #[arg(required = true, value_name = "FILTER", add = completions::topics())]
    pub(crate) filters: Vec<String>,
    /// Where to begin: `latest` (the newest event of each topic), `all`, an event's id, or a duration such as `10m`
    #[arg(long, default_value = "all", env = "SSE_BUS_HISTORY_SINCE", hide_env = true)]
    pub(crate) since: String,
    /// Print only the last so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), env = "SSE_BUS_HISTORY_LIMIT",
        hide_env = true)]
    pub(crate) limit: Option<u64>,
    /// How events are printed [default: for people on a terminal, else json]
    #[arg(long, value_enum, env = "SSE_BUS_HISTORY_FORMAT", hide_env = true)]
    pub(crate) format: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct Url {
    /// The topic or pattern to stream [default: only where the daemon listens]
    #[arg(add = completions::topics())]
    pub(crate) filter: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl bench
  sse-busctl bench --subscribers 100 --seconds 3 --json"))]
pub(crate) struct Bench {
    /// Subscribers over HTTP, all from this process
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=50_000),
        env = "SSE_BUS_BENCH_SUBSCRIBERS", hide_env = true)]
    pub(crate) subscribers: u64,
    /// How long to measure, in seconds
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600),
        env = "SSE_BUS_BENCH_SECONDS", hide_env = true)]
    pub(crate) seconds: u64,
    /// Bytes of each event's data
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1 << 20),
        env = "SSE_BUS_BENCH_SIZE", hide_env = true)]
    pub(crate) size: u64,
}

impl Cli {
    /// Reads the command line and the environment. Ends the process for `--help` and for mistakes.
    pub(crate) fn read() -> Cli {
        let mut command = Cli::command();
        if std::env::vars_os().any(|(name, value)| value.is_empty() && name.to_string_lossy().starts_with("SSE_BUS_")) {
            command = without_empty(command);
        }
        // `help publish`, as other programs take it.
        let mut arguments: Vec<_> = std::env::args_os().collect();
        if arguments.get(1).is_some_and(|first| first == "help") {
            arguments.remove(1);
            arguments.push("--help".into());
        }
        Cli::from_arg_matches(&command.get_matches_from(arguments)).unwrap_or_else(|e| e.exit())
    }
}

/// An empty variable counts as unset.
fn without_empty(command: Command) -> Command {
    let is_empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(
            |arg| if arg.get_env().is_some_and(is_empty) { arg.env(clap::builder::Resettable::Reset) } else { arg },
        )
        .mut_subcommands(without_empty)
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("an interval cannot be zero".into()),
        Ok(interval) => Ok(interval),
        Err(e) => Err(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_variable_of_its_own() {
        let command = Cli::command();
        let mut seen = std::collections::HashSet::new();
        let mut commands = vec![(String::new(), &command)];
        while let Some((prefix, command)) = commands.pop() {
            commands.extend(command.get_subcommands().map(|c| (format!("{prefix}{}_", c.get_name()), c)));
            for arg in command.get_arguments().filter(|a| a.get_long().is_some_and(|l| l != "help" && l != "version")) {
                let long = arg.get_long().unwrap_or_default();
                // The daemon's own.
                let prefix = if long == "state-dir" { "" } else { &prefix };
                let expected = format!("SSE_BUS_{prefix}{long}").to_uppercase().replace('-', "_");
                let found = arg.get_env().unwrap_or_default().to_string_lossy().into_owned();
                assert_eq!(found, expected, "--{long}");
                assert!(seen.insert(found));
            }
        }
    }
}
