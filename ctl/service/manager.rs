//! What the service managers have in common.

use std::path::PathBuf;

use sse_bus::listen::Listen;

use super::{
    error::ServiceError,
    plan::{CommandLine, File},
};
use crate::cli::ServiceLogs;

/// The properties of the service.
#[derive(Default)]
pub(super) struct ServiceConfig {
    pub(super) daemon: PathBuf,
    /// The addresses of the port; the default ones if empty.
    pub(super) listen: Vec<Listen>,
    /// The local socket, if not the default one.
    pub(super) socket: Option<PathBuf>,
    pub(super) other_users: bool,
}

/// A service manager. Its methods return files and commands, and do not change anything.
pub(super) trait Manager {
    /// Returns the files of the service.
    fn files(&self, config: &ServiceConfig) -> Result<Vec<File>, ServiceError>;

    /// Returns the directories in which packages install such files for all users.
    fn package_directories(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the links that the manager creates beside the files.
    fn links(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns true if the manager listens on the sockets while the daemon does not run, so that its files contain
    /// them.
    fn holds_sockets(&self) -> bool {
        true
    }

    /// Returns a command that succeeds if the manager can be reached.
    fn probe(&self) -> Option<CommandLine> {
        None
    }

    /// Returns a command that succeeds if the manager currently listens on the sockets.
    fn is_holding(&self) -> Option<CommandLine> {
        None
    }

    /// Returns the commands after the files are written. `has_changed` means that they replaced other files.
    fn install(&self, config: &ServiceConfig, has_changed: bool) -> Result<Vec<CommandLine>, ServiceError>;

    /// Returns the commands before the files are removed.
    fn uninstall(&self, config: &ServiceConfig) -> Result<Vec<CommandLine>, ServiceError>;

    /// Returns the commands after the files are removed.
    fn after_removal(&self) -> Vec<CommandLine> {
        Vec::new()
    }

    fn start(&self, config: &ServiceConfig) -> Result<Vec<CommandLine>, ServiceError>;
    fn stop(&self, config: &ServiceConfig) -> Result<Vec<CommandLine>, ServiceError>;
    fn restart(&self) -> Vec<CommandLine>;
    fn status(&self) -> CommandLine;
    fn logs(&self, config: &ServiceConfig, logs: &ServiceLogs) -> Result<CommandLine, ServiceError>;

    /// Returns the log file, if the service has one of its own.
    fn log_file(&self, _: &ServiceConfig) -> Option<PathBuf> {
        None
    }
}

/// Returns the standard directories of the user.
pub(super) fn user_directories() -> Result<directories::BaseDirs, ServiceError> {
    directories::BaseDirs::new().ok_or(ServiceError::NoHome)
}
