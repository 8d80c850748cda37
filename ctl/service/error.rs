//! Errors of the service commands.

use std::{io, path::PathBuf};

use crate::exit::{Exit, Failure};

/// Why a service cannot be installed or managed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error("no home directory; set HOME")]
    NoHome,
    #[error("cannot determine the path of this program: {0}; use --daemon")]
    ProgramPath(io::Error),
    #[error("cannot run {}: {}; choose the daemon with --daemon", .0.display(), .1)]
    RunDaemon(PathBuf, io::Error),
    #[error("the service would not start: {0}")]
    Configuration(String),
    #[error("{} is not a daemon of this version; choose one with --daemon", .0.display())]
    OtherVersion(PathBuf),
    #[error("{} cannot be used in a service file; choose another path", .0.display())]
    InvalidPath(PathBuf),
    #[error(
        "{} was not written by `sse-busctl service install`; move it away, or overwrite it with --force", .0.display()
    )]
    ForeignFile(PathBuf),
    #[error("cannot read {}: {}", .0.display(), .1)]
    Read(PathBuf, io::Error),
    #[error("cannot write {}: {}", .0.display(), .1)]
    Write(PathBuf, io::Error),
    #[error("cannot remove {}: {}", .0.display(), .1)]
    Remove(PathBuf, io::Error),
    #[error("cannot determine the state directory: {0}")]
    StateDirectory(io::Error),
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Failure {
        Failure::new(Exit::Failed, error.to_string())
    }
}
