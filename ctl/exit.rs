//! Exit codes and error messages. The codes are documented in `--help` and never reused.

use std::{fmt, io, process::ExitCode};

use sse_bus::{client, protocol::ErrorCode};

/// The exit codes, as shown in `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0  success
  1  failure
  2  invalid command line, topic, filter or other value
  3  no daemon at the socket or URL
  4  nobody there: no such client (kick, send, publish --to), no subscriber (publish
     --wait-for), no responder (request), or no such consumer, dead letter or schedule
  5  timed out (subscribe --timeout, request; a daemon that does not answer)
  6  denied
  7  refused by a limit of the daemon

Each option of a command can be set by a variable, SSE_BUS_<COMMAND>_<OPTION>,
such as SSE_BUS_SUBSCRIBE_SINCE=10m.";

/// Returns the end of a command's `--help`: examples and the exit codes.
pub(crate) fn with_codes(examples: &str) -> String {
    format!("{examples}\n\n{HELP}")
}

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NoDaemon = 3,
    NoSubscriber = 4,
    TimedOut = 5,
    Denied = 6,
    Limit = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed: the exit code and the error message.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// `None` if the reason was already printed.
    pub(crate) message: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: Some(message.into()) }
    }

    /// Returns a failure without a message, because the reason was already printed.
    pub(crate) fn silent(exit: Exit) -> Failure {
        Failure { exit, message: None }
    }

    /// Prepends the failed operation to the message.
    pub(crate) fn context(mut self, operation: impl fmt::Display) -> Failure {
        self.message = self.message.map(|message| format!("{operation}: {message}"));
        self
    }
}

impl From<Exit> for Failure {
    fn from(exit: Exit) -> Failure {
        Failure::silent(exit)
    }
}

/// Returns the exit code for the error code of a refusal: the same whether this program or the daemon refuses.
pub(crate) fn of_code(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::Denied | ErrorCode::KeptOut => Exit::Denied,
        ErrorCode::ClientUnknown
        | ErrorCode::ConsumerUnknown
        | ErrorCode::DeadUnknown
        | ErrorCode::NoResponder
        | ErrorCode::ScheduleUnknown => Exit::NoSubscriber,
        ErrorCode::TimedOut => Exit::TimedOut,
        ErrorCode::TopicInvalid
        | ErrorCode::FilterInvalid
        | ErrorCode::TypeInvalid
        | ErrorCode::HeadersInvalid
        | ErrorCode::SinceInvalid
        | ErrorCode::ClientInvalid
        | ErrorCode::ConsumerInvalid
        | ErrorCode::ScheduleInvalid
        | ErrorCode::RequestInvalid => Exit::Usage,
        ErrorCode::Unavailable | ErrorCode::UnknownOutcome => Exit::NoDaemon,
        code if code.is_limit() => Exit::Limit,
        _ => Exit::Failed,
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Failure {
        match &error {
            client::Error::NoDaemon { endpoint, source } => match source.kind() {
                // Another directory is the solution, not another daemon.
                io::ErrorKind::NotFound if endpoint.runtime_error().is_some() => {
                    Failure::new(Exit::NoDaemon, error.to_string())
                }
                io::ErrorKind::InvalidInput => Failure::new(Exit::Usage, error.to_string()),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    Failure::new(Exit::NoDaemon, format!("{error}; start one with `sse-busd`"))
                }
                io::ErrorKind::PermissionDenied => Failure::new(Exit::Denied, error.to_string()),
                _ => Failure::new(Exit::NoDaemon, error.to_string()),
            },
            client::Error::Untrusted { .. } => {
                let advice = "name the file of its certificate authority with --ca-file";
                Failure::new(Exit::Failed, format!("{error}; {advice}"))
            }
            client::Error::SocketRemoved { .. }
            | client::Error::SocketMounted { .. }
            | client::Error::Unreachable { .. } => Failure::new(Exit::NoDaemon, error.to_string()),
            client::Error::Unresponsive { .. } => {
                Failure::new(Exit::TimedOut, format!("{error}; run `sse-busctl doctor` to find out why"))
            }
            other => Failure::new(other.code().map_or(Exit::Failed, of_code), error.to_string()),
        }
    }
}

/// The failure of a write to stdout. A closed pipe is not a failure, so that `sse-busctl … | head` ends normally.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(Exit::Done),
            _ => Failure::new(Exit::Failed, format!("cannot write the output: {error}")),
        }
    }
}
