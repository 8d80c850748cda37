//! The errors of a client, distinguished by what the caller can do about them.

use std::{io, time::Duration};

use super::address::Address;
use crate::{
    endpoint::{Endpoint, PathSource},
    limits::FRAME_MAX,
    protocol::{ErrorCode, Published, Refused, Reply},
    socket_owner::Process,
};

/// The daemon's reply to one publish.
pub type PublishResult = Result<Published, Refused>;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No daemon listens at the endpoint, or the endpoint cannot be reached.
    #[error("{}", no_daemon(.endpoint, .source))]
    NoDaemon {
        /// The endpoint.
        endpoint: Endpoint,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A daemon of this user runs, but its socket file was removed or renamed. The daemon binds the socket again within
    /// 5 s if it can.
    #[error("{daemon} runs, but its socket {endpoint} was removed; the daemon binds it again within 5 s, if it can")]
    SocketRemoved {
        /// The endpoint.
        endpoint: Endpoint,
        /// The process of the daemon.
        daemon: Process,
    },
    /// No daemon answers at a URL, or its host cannot be reached.
    #[cfg(feature = "remote")]
    #[error("no daemon answers at {url}: {source}")]
    Unreachable {
        /// The URL of the daemon.
        url: String,
        /// The error of the operating system, or the reply of a proxy.
        source: io::Error,
    },
    /// The certificate of a daemon elsewhere cannot be verified.
    #[cfg(feature = "remote")]
    #[error("the certificate of {url} cannot be verified: {reason}")]
    Untrusted {
        /// The URL of the daemon.
        url: String,
        /// The reason.
        reason: String,
    },
    /// The endpoint is a mount of a socket file, as in a container, and its daemon has restarted with a new file since.
    #[error(
        "{endpoint} is stale: it is a mount of a socket file that its daemon has replaced since; mount the directory of the \
         socket instead of the file, and restart the container"
    )]
    SocketMounted {
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// The process at the address does not answer, for example because it is stopped or hangs. The connection stays
    /// usable, and the request may still be processed.
    #[error("the daemon at {address} does not answer within {after:.0?}")]
    Unresponsive {
        /// The address of the daemon.
        address: Address,
        /// The time after which the client stopped waiting.
        after: Duration,
    },
    /// The daemon refused the request. The connection stays usable.
    #[error("{0}")]
    Refused(Refused),
    /// This user or peer is not authorized. Contains the reason.
    #[error("{0}")]
    Denied(String),
    /// The connection broke, or the daemon closed it. Requests without a reply may or may not have been processed.
    #[error("{}", disconnected(.0))]
    Disconnected(#[source] io::Error),
    /// The other end does not speak this protocol. Contains the reason.
    #[error("the other end is not a sse-busd of a compatible version: {0}")]
    Protocol(String),
    /// The request exceeds the maximum frame size of [`FRAME_MAX`] bytes and was not sent.
    #[error("the event needs {bytes} bytes on the socket; the maximum size of a frame is {FRAME_MAX}")]
    TooLarge {
        /// The size of the frame, in bytes.
        bytes: usize,
    },
}

impl Error {
    /// Returns the error code if the request was refused, by the daemon or by this client.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Refused(refused) => Some(refused.code),
            Error::Denied(_) => Some(ErrorCode::Denied),
            Error::TooLarge { .. } => Some(ErrorCode::LimitFrame),
            Error::NoDaemon { .. }
            | Error::SocketRemoved { .. }
            | Error::SocketMounted { .. }
            | Error::Unresponsive { .. }
            | Error::Disconnected(_)
            | Error::Protocol(_) => None,
            #[cfg(feature = "remote")]
            Error::Unreachable { .. } | Error::Untrusted { .. } => None,
        }
    }

    /// Returns true if the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::NoDaemon { .. }
            | Error::SocketRemoved { .. }
            | Error::Unresponsive { .. }
            | Error::Disconnected(_) => true,
            Error::Refused(refused) => {
                refused.code.is_limit()
                    || matches!(
                        refused.code,
                        ErrorCode::Stopping
                            | ErrorCode::Unavailable
                            | ErrorCode::UnknownOutcome
                            | ErrorCode::KeptOut
                            | ErrorCode::NoResponder
                            | ErrorCode::ResponderGone
                            | ErrorCode::TimedOut
                    )
            }
            Error::SocketMounted { .. } | Error::Denied(_) | Error::Protocol(_) | Error::TooLarge { .. } => false,
            #[cfg(feature = "remote")]
            Error::Unreachable { .. } => true,
            #[cfg(feature = "remote")]
            Error::Untrusted { .. } => false,
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
        let variant = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        Error::Protocol(format!("unexpected reply `{variant}`"))
    }

    pub(super) fn closed() -> Error {
        Error::Disconnected(io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon closed the connection"))
    }

    /// Converts the error to a refusal, as if the daemon had sent it.
    pub(super) fn into_refused(self) -> Refused {
        match self {
            Error::Refused(refused) => refused,
            other => Refused::new(other.code().unwrap_or(ErrorCode::Other), other.to_string()),
        }
    }
}

/// The message of [`Error::NoDaemon`].
fn no_daemon(endpoint: &Endpoint, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let is_stale = source.kind() == io::ErrorKind::ConnectionRefused;
            let stale = if is_stale { ", whose socket file is stale" } else { "" };
            let cause = endpoint.runtime_error().map_or(String::new(), |why| format!(": {why}"));
            let unset = match endpoint.source() {
                PathSource::RuntimeDirectory | PathSource::StateDirectory if cfg!(target_os = "linux") => {
                    " (XDG_RUNTIME_DIR is not set)"
                }
                _ => "",
            };
            format!("no daemon at {endpoint}{stale}{unset}{cause}")
        }
        // The error names the path.
        io::ErrorKind::InvalidInput => source.to_string(),
        _ => format!("cannot connect to {endpoint}: {source}"),
    }
}

/// The message of [`Error::Disconnected`].
fn disconnected(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => source.to_string(),
        _ => format!("the connection to the daemon broke: {source}"),
    }
}

/// [`publish_many`](super::Client::publish_many) failed before all events were answered.
#[derive(Debug, thiserror::Error)]
#[error("{error} (after {} replies)", .results.len())]
pub struct Interrupted {
    /// The results of the first publishes, in order. Whether the others were accepted is unknown.
    pub results: Vec<PublishResult>,
    /// The error that ended the connection.
    #[source]
    pub error: Error,
}

impl From<Interrupted> for Error {
    fn from(interrupted: Interrupted) -> Error {
        interrupted.error
    }
}
