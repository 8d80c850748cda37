//! The command line, parsed by clap. The doc comments of options are the help texts in `--help` and the man pages.
//!
//! Every option has an environment variable: `SSE_BUS_<OPTION>` for those of all commands, such as `SSE_BUS_SOCKET`, and
//! `SSE_BUS_<COMMAND>_<OPTION>` for those of one command. The name contains the command because `--exec` sets
//! `SSE_BUS_TYPE` and similar variables, which must not become options of a `sse-busctl` that the child runs.

// The comments are help texts, in which backticks around every name would be distracting.
#![allow(clippy::doc_markdown)]

mod bench;
mod completers;
mod consumers;
mod docs;
mod doctor;
mod format;
mod init_page;
mod nearest;
mod patterns;
mod publish;
mod requests;
mod schedule;
mod service;
mod since;
mod status;
mod subscribe;
mod token;
mod values;
mod work;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, builder::BoolishValueParser,
    error::ErrorKind, parser::ValueSource,
};
use sse_bus::Filter;

pub(crate) use self::{
    bench::Bench,
    consumers::{Consumer, ConsumerAction, ConsumerCreate, Dead, DeadAction},
    docs::{Completions, Man, Shell},
    doctor::Doctor,
    format::Format,
    init_page::InitPage,
    publish::{Publish, Send},
    requests::{Reply, Request},
    schedule::{Schedule, ScheduleAction},
    service::{Manager, Service, ServiceAction, ServiceInstall, ServiceLogs},
    status::Status,
    subscribe::{History, Subscribe},
    token::{Token, TokenAction, TokenCreate},
    work::Work,
};
use crate::{exit, remote::Remote};

/// Publish and subscribe to events of the local bus, inspect and manage it.
#[derive(Debug, Parser)]
#[command(name = "sse-busctl", version = env!("SSE_BUS_VERSION"), max_term_width = 100, after_long_help = exit::with_codes("\
Examples:
  sse-busctl subscribe
  sse-busctl publish hello world
  sse-busctl status"))]
#[command(disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The daemon's local socket [default: the socket of this user]
    #[arg(long, global = true, help_heading = "Global options", value_name = "PATH", env = "SSE_BUS_SOCKET")]
    pub(crate) socket: Option<PathBuf>,
    /// Output format [default: text on a terminal, otherwise json]
    #[arg(
        long,
        short = 'f',
        global = true,
        help_heading = "Global options",
        value_enum,
        value_name = "FORMAT",
        env = "SSE_BUS_FORMAT"
    )]
    pub(crate) format: Option<Format>,
    #[command(flatten)]
    pub(crate) remote: Remote,
    /// The same as --format json
    #[arg(long, global = true, help_heading = "Global options", env = "SSE_BUS_JSON", value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
    /// Print no confirmations and no notices, only results and errors
    #[arg(long, short = 'q', global = true, help_heading = "Global options", env = "SSE_BUS_QUIET", value_parser = BoolishValueParser::new())]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// The command.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Publish one event, one event per line of input, or events at an interval
    #[command(visible_alias = "pub")]
    Publish(Box<Publish>),
    /// Print events as they are published
    #[command(visible_alias = "sub")]
    Subscribe(Subscribe),
    /// Send a request, and print the reply of a responder
    Request(Request),
    /// Reply to requests with the output of a command
    Reply(Reply),
    /// Send an event to one client only, or to a consumer
    Send(Send),
    /// List and cancel the events that are published later
    Schedule(Schedule),
    /// Create, list, move and delete consumers
    Consumer(Consumer),
    /// Work for a consumer: run a command for each event, or print deliveries
    Work(Work),
    /// List, retry and drop the dead letters of a consumer
    Dead(Dead),
    /// List the connected clients
    Clients,
    /// List the daemons that share the bus
    Nodes,
    /// List the topics
    Topics(Topics),
    /// Show the state or the configuration of the daemon
    Status(Status),
    /// Disconnect a client
    Kick(Kick),
    /// Print past events
    History(History),
    /// Print the URL of an event stream, for curl and browsers
    Url(Url),
    /// Print the path of the local socket, for other programs
    Socket,
    /// Write a first page into the directory that the daemon serves (`sse-busd --pages DIR`)
    InitPage(InitPage),
    /// Create, list and revoke tokens, for other users and other machines
    Token(Token),
    /// Measure the performance of the bus on this machine, with a daemon of its own
    Bench(Bench),
    /// Run the bus as a service of your user
    Service(Service),
    /// Find problems of the bus and suggest fixes
    Doctor(Doctor),
    /// Print the completion script for a shell
    Completions(Completions),
    /// Write the man pages
    Man(Man),
    /// Print the version of this program
    Version,
}

impl Action {
    /// Returns true if the command prints events, which have formats of their own.
    fn prints_events(&self) -> bool {
        matches!(self, Action::Subscribe(Subscribe { exec: None, .. }) | Action::History(_))
    }
}

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl topics
  sse-busctl topics 'build/**'"))]
pub(crate) struct Topics {
    /// Topics or patterns: `*` matches one level, a final `**` any number of levels
    #[arg(value_name = "FILTER", default_value = "**", value_parser = patterns::parse_filter, add = completers::topics())]
    pub(crate) filters: Vec<Filter>,
}

#[derive(Debug, Args)]
pub(crate) struct Kick {
    /// The id or name of the client
    #[arg(add = completers::clients())]
    pub(crate) client: String,
    /// Keep the client out for this time, such as `1m`, at most a day; `0s` lets it in again
    ///
    /// A client is recognized by its name, or else by its token or its process on the local socket.
    #[arg(long = "for", value_name = "DURATION", value_parser = values::parse_duration, env = "SSE_BUS_KICK_FOR")]
    pub(crate) keep_out: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Url {
    /// A topic or pattern [default: print the URL of the daemon itself]
    #[arg(value_parser = patterns::parse_pattern, add = completers::topics())]
    pub(crate) filter: Option<String>,
}

impl Cli {
    /// Parses the command line and the environment. Ends the process for `--help` and on errors.
    pub(crate) fn read() -> Cli {
        // `help publish` works as in many other programs.
        let mut arguments: Vec<_> = std::env::args_os().collect();
        if arguments.get(1).is_some_and(|first| first == "help") {
            arguments.remove(1);
            arguments.push("--help".into());
        }
        Cli::parse_from(&arguments).unwrap_or_else(|e| e.exit())
    }

    fn parse_from(arguments: &[OsString]) -> Result<Cli, clap::Error> {
        let mut command = command();
        if std::env::vars_os().any(|(name, value)| value.is_empty() && name.to_string_lossy().starts_with("SSE_BUS_")) {
            command = without_empty(command);
        }
        let matches = command.try_get_matches_from_mut(arguments);
        let matches = matches.map_err(|e| nearest::with_suggestions(e, &mut command, arguments))?;
        let mut cli = Cli::from_arg_matches(&matches)?;
        cli.format = format::chosen(&matches, cli.action.prints_events(), &mut command)?;
        cli.choose_daemon(&matches, &mut command)?;
        Ok(cli)
    }

    /// Removes a variable's daemon if an option names another one. Refuses options that would have no effect.
    fn choose_daemon(&mut self, matches: &ArgMatches, command: &mut Command) -> Result<(), clap::Error> {
        let is_option = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        match (&self.socket, &self.remote.url) {
            // It has a `--url` of its own.
            _ if matches!(self.action, Action::Doctor(_)) => {}
            (Some(_), Some(_)) if is_option("socket") == is_option("url") => {
                let message = "--socket (SSE_BUS_SOCKET) and --url (SSE_BUS_URL) name two daemons; leave one out";
                return Err(command.error(ErrorKind::ArgumentConflict, message));
            }
            (Some(_), Some(_)) if is_option("socket") => self.remote.url = None,
            (Some(_), Some(_)) => self.socket = None,
            _ => {}
        }
        let unused = ["token_file", "ca_file", "plaintext_token"].into_iter().find(|id| is_option(id));
        match unused {
            // A variable is for the commands that use `--url`.
            Some(option) if self.remote.url.is_none() && !matches!(self.action, Action::Doctor(_)) => {
                let option = option.replace('_', "-");
                let message = format!("--{option} is for a daemon elsewhere; name its URL with --url (SSE_BUS_URL)");
                Err(command.error(ErrorKind::MissingRequiredArgument, message))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the command line of the program. Its help shows the names of variables without their current values.
pub(crate) fn command() -> Command {
    fn without_values(command: Command) -> Command {
        command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(without_values)
    }
    without_values(Cli::command())
}

/// Makes empty environment variables have no effect.
fn without_empty(command: Command) -> Command {
    let is_empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(
            |arg| if arg.get_env().is_some_and(is_empty) { arg.env(clap::builder::Resettable::Reset) } else { arg },
        )
        .mut_subcommands(without_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_option_has_its_own_variable() {
        let command = command();
        let mut seen = std::collections::HashSet::new();
        let mut commands = vec![(String::new(), &command)];
        while let Some((prefix, command)) = commands.pop() {
            commands.extend(command.get_subcommands().map(|c| (format!("{prefix}{}_", c.get_name()), c)));
            for arg in command.get_arguments().filter(|a| a.get_long().is_some_and(|l| l != "help" && l != "version")) {
                let long = arg.get_long().unwrap_or_default();
                // Shared with the daemon.
                let prefix = if long == "state-dir" { "" } else { &prefix };
                let expected = format!("SSE_BUS_{prefix}{long}").to_uppercase().replace('-', "_");
                let found = arg.get_env().unwrap_or_default().to_string_lossy().into_owned();
                assert_eq!(found, expected, "--{long}");
                assert!(seen.insert(found));
            }
        }
    }
}
