//! The daemon of the service: its path, and its checked configuration.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use super::error::ServiceError;
use crate::listen::Listen;

/// The configuration as `sse-busd --check` prints it.
#[derive(Debug, Default)]
pub(super) struct CheckedConfig {
    pub(super) listen: Vec<Listen>,
    pub(super) socket: Option<PathBuf>,
    pub(super) state_dir: Option<PathBuf>,
}

/// Runs the daemon to check its configuration.
pub(super) fn check(daemon: &Path, listen: &[Listen], socket: Option<&Path>) -> Result<CheckedConfig, ServiceError> {
    let mut command = Command::new(daemon);
    // The service does not inherit the environment of this shell.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SSE_BUS_")) {
        command.env_remove(name);
    }
    command.arg("--check");
    for listen in listen {
        command.args(["--listen", &listen.to_string()]);
    }
    if let Some(socket) = socket {
        command.arg("--socket").arg(socket);
    }
    let output = command.output().map_err(|e| ServiceError::RunDaemon(daemon.to_owned(), e))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(ServiceError::Configuration(error.trim_end().trim_start_matches("sse-busd: ").to_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let values =
        |key| text.lines().filter_map(move |line: &str| Some(line.strip_prefix(key)?.strip_prefix(' ')?.trim_start()));
    let value = |key| values(key).next();
    let checked = CheckedConfig {
        listen: values("listen").filter_map(|text| text.parse().ok()).collect(),
        socket: value("socket").map(PathBuf::from),
        state_dir: value("state_dir").map(PathBuf::from),
    };
    if checked.listen.is_empty() || checked.socket.is_none() {
        return Err(ServiceError::OtherVersion(daemon.to_owned()));
    }
    Ok(checked)
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
