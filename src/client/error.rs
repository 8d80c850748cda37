//! What can go wrong between a client and the daemon, told apart by what the caller can do about it.

use std::{fmt, io, time::Duration};

use super::Answer;
use crate::{
    endpoint::Endpoint,
    limits::FRAME_MAX,
    protocol::{ErrorCode, Refused, Reply},
    socket_owner::Process,
};

/// Why a request was not done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Nobody listens at the endpoint, or it cannot be reached. Start a daemon, or look elsewhere.
    NoDaemon {
        /// Where.
        endpoint: Endpoint,
        /// What the operating system said.
        source: io::Error,
    },
    /// A daemon of this user runs, but the file of its socket was removed or moved away. It binds the socket again within 5 s
    /// if it can.
    SocketGone {
        /// Where.
        endpoint: Endpoint,
        /// The daemon.
        daemon: Process,
    },
    /// What is at the endpoint gives no answer, like a daemon that is stopped or hangs. The connection is still of use,
    /// and what was asked for may still be done.
    NoAnswer {
        /// Where.
        endpoint: Endpoint,
        /// How long it was waited for.
        after: Duration,
    },
    /// The daemon said no to the request; the connection goes on.
    Refused(Refused),
    /// This user or this peer may not use the bus. Says why.
    Denied(String),
    /// The connection broke, or the daemon closed it. What was not answered may or may not have been done.
    Disconnected(io::Error),
    /// The other end does not speak this protocol.
    Protocol(String),
    /// The request does not fit a frame of [`FRAME_MAX`] bytes and was not sent.
    TooLarge {
        /// Its size as a frame, in bytes.
        bytes: usize,
    },
}

impl Error {
    /// The code of a refusal, also of one that was decided here.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Refused(refused) => Some(refused.code),
            Error::Denied(_) => Some(ErrorCode::Denied),
            Error::TooLarge { .. } => Some(ErrorCode::LimitFrame),
            Error::NoDaemon { .. }
            | Error::SocketGone { .. }
            | Error::NoAnswer { .. }
            | Error::Disconnected(_)
            | Error::Protocol(_) => None,
        }
    }

    /// Whether trying again later, unchanged, can help.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::NoDaemon { .. } | Error::SocketGone { .. } | Error::NoAnswer { .. } | Error::Disconnected(_) => true,
            Error::Refused(refused) => refused.code.is_limit() || refused.code == ErrorCode::Stopping,
            Error::Denied(_) | Error::Protocol(_) | Error::TooLarge { .. } => false,
        }
    }

    pub(super) fn refused(refused: Refused) -> Error {
        match refused.code {
            ErrorCode::Denied => Error::Denied(refused.message),
            _ => Error::Refused(refused),
        }
    }

    pub(super) fn unexpected(reply: &Reply) -> Error {
        let text = format!("{reply:?}");
        let kind = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        Error::Protocol(format!("the daemon answered with `{kind}`, which was not asked for"))
    }

    pub(super) fn closed() -> Error {
        Error::Disconnected(io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon closed the connection"))
    }

    /// The error as a refusal, as the daemon would have said it.
    pub(super) fn into_refused(self) -> Refused {
        match self {
            Error::Refused(refused) => refused,
            other => Refused::new(other.code().unwrap_or(ErrorCode::Other), other.to_string()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoDaemon { endpoint, source } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => write!(f, "no daemon at {endpoint}"),
                _ => write!(f, "cannot connect to {endpoint}: {source}"),
            },
            Error::SocketGone { endpoint, daemon } => {
                write!(f, "{daemon} runs, but its socket {endpoint} is gone; it binds it again within 5 s, if it can")
            }
            Error::NoAnswer { endpoint, after } => {
                write!(f, "the daemon at {endpoint} does not answer within {after:.0?}")
            }
            Error::Refused(refused) => refused.fmt(f),
            Error::Denied(why) => f.write_str(why),
            Error::Disconnected(source) if source.kind() == io::ErrorKind::UnexpectedEof => source.fmt(f),
            Error::Disconnected(source) => write!(f, "the connection to the daemon broke: {source}"),
            Error::Protocol(what) => write!(f, "the other end is no sse-busd of this version: {what}"),
            Error::TooLarge { bytes } => {
                write!(f, "the event takes {bytes} bytes on the socket; at most {FRAME_MAX} fit one frame")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::NoDaemon { source, .. } | Error::Disconnected(source) => Some(source),
            _ => None,
        }
    }
}

/// [`publish_many`](super::Client::publish_many) did not come to its end.
#[derive(Debug)]
pub struct Interrupted {
    /// The answers to the first publishes, in order. Whether the others were accepted is not known.
    pub answers: Vec<Answer>,
    /// What broke.
    pub error: Error,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (after {} answers)", self.error, self.answers.len())
    }
}

impl std::error::Error for Interrupted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<Interrupted> for Error {
    fn from(interrupted: Interrupted) -> Error {
        interrupted.error
    }
}
