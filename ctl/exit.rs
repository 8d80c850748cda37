//! How the program ends: exit codes, documented in `--help` and never reused, and the one line that says why.

use std::{fmt, io, process::ExitCode};

use sse_bus::{client, protocol::ErrorCode};

/// The exit codes, as `--help` shows them.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  the command line is wrong
  3  no daemon at the socket
  4  nobody subscribed (publish --wait-for, --to; send)
  5  timed out (subscribe --timeout; a daemon that does not answer)
  6  denied
  7  refused by a limit of the daemon

Each option of a command can be set by a variable, SSE_BUS_<COMMAND>_<OPTION>,
such as SSE_BUS_SUBSCRIBE_SINCE=10m.";

/// The end of a command's `--help`: examples and the exit codes.
pub(crate) fn with_codes(examples: &str) -> String {
    format!("{examples}\n\n{HELP}")
}

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NoDaemon = 3,
    Nobody = 4,
    TimedOut = 5,
    Denied = 6,
    Limit = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// The program cannot go on: the exit code, and what to say about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// Nothing if everything was said already.
    pub(crate) message: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: Some(message.into()) }
    }

    /// Ends with `exit`; everything was said already.
    pub(crate) fn silent(exit: Exit) -> Failure {
        Failure { exit, message: None }
    }

    /// Puts what was being done before the message.
    pub(crate) fn context(mut self, what: impl fmt::Display) -> Failure {
        self.message = self.message.map(|message| format!("{what}: {message}"));
        self
    }
}

impl From<Exit> for Failure {
    fn from(exit: Exit) -> Failure {
        Failure::silent(exit)
    }
}

/// The exit code for a refusal.
pub(crate) fn of_code(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::Denied => Exit::Denied,
        code if code.is_limit() => Exit::Limit,
        _ => Exit::Failed,
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Failure {
        let exit = match &error {
            client::Error::NoDaemon { source, .. } => {
                return match source.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                        Failure::new(Exit::NoDaemon, format!("{error}; start one with `sse-busd`"))
                    }
                    io::ErrorKind::PermissionDenied => Failure::new(Exit::Denied, error.to_string()),
                    _ => Failure::new(Exit::NoDaemon, error.to_string()),
                };
            }
            client::Error::SocketRemoved { .. } => return Failure::new(Exit::NoDaemon, error.to_string()),
            client::Error::NoAnswer { .. } => {
                return Failure::new(Exit::TimedOut, format!("{error}; `sse-busctl doctor` tells why"));
            }
            other => other.code().map_or(Exit::Failed, of_code),
        };
        Failure::new(exit, error.to_string())
    }
}

/// An error of writing to stdout. A reader that went away is no failure: `sse-busctl … | head` ends quietly.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(Exit::Done),
            _ => Failure::new(Exit::Failed, format!("cannot write the output: {error}")),
        }
    }
}
