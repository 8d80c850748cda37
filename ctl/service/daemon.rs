//! The daemon of the service: its path, and its checked configuration.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use sse_bus::listen::Listen;

use super::error::ServiceError;
use crate::check_report::CheckReport;

/// A valid configuration, as `sse-busd --check=json` reports it.
#[derive(Debug, Default)]
pub(super) struct CheckedConfig {
    pub(super) listen: Vec<Listen>,
    pub(super) socket: Option<PathBuf>,
    pub(super) state_dir: Option<PathBuf>,
}

/// Runs the daemon to check its configuration.
///
/// # Errors
///
/// The daemon cannot be run, or its configuration is invalid.
pub(super) fn check(daemon: &Path, listen: &[Listen], socket: Option<&Path>) -> Result<CheckedConfig, ServiceError> {
    let mut command = Command::new(daemon);
    // The service does not inherit the environment of this shell.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SSE_BUS_")) {
        command.env_remove(name);
    }
    command.arg("--check=json");
    for listen in listen {
        command.args(["--listen", &listen.to_string()]);
    }
    if let Some(socket) = socket {
        command.arg("--socket").arg(socket);
    }
    let output = command.output().map_err(|e| ServiceError::RunDaemon(daemon.to_owned(), e))?;
    match CheckReport::parse(&output.stdout) {
        Some(CheckReport::Valid { listen, socket, state_dir }) => {
            let listen = listen.into_iter().map(Listen::Address).collect();
            Ok(CheckedConfig { listen, socket: Some(socket), state_dir: Some(state_dir) })
        }
        Some(CheckReport::Invalid { errors }) => Err(ServiceError::Configuration(errors.join("; "))),
        None if !output.status.success() && !output.stderr.is_empty() => {
            let error = String::from_utf8_lossy(&output.stderr);
            Err(ServiceError::Configuration(error.trim_end().trim_start_matches("sse-busd: ").to_owned()))
        }
        None => Err(ServiceError::OtherVersion(daemon.to_owned())),
    }
}

/// Returns the path of the daemon in the directory of this program.
pub(super) fn path() -> Result<PathBuf, ServiceError> {
    let name = format!("sse-busd{}", env::consts::EXE_SUFFIX);
    let this = env::current_exe().map_err(ServiceError::ProgramPath)?;
    let beside = this.with_file_name(&name);
    let directories: Vec<_> = env::var_os("PATH").iter().flat_map(env::split_paths).collect();
    if directories.iter().any(|directory| Some(directory.as_path()) == beside.parent()) {
        return Ok(beside);
    }
    // Prefer a link in PATH, which stays valid after an upgrade, as with Homebrew.
    let real = beside.canonicalize().ok();
    let is_link = |path: &PathBuf| path.is_absolute() && real.is_some() && path.canonicalize().ok() == real;
    Ok(directories.iter().map(|directory| directory.join(&name)).find(is_link).unwrap_or(beside))
}
