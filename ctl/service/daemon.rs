//! The daemon that the service runs: its program, and its check of the configuration.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use crate::listen::Listen;

/// What a valid configuration amounts to, as `sse-busd --check=json` reports it.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) listen: Vec<Listen>,
    pub(super) socket: Option<PathBuf>,
    pub(super) state_dir: Option<PathBuf>,
}

/// The report of `sse-busd --check=json`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Report {
    Valid { listen: Vec<String>, socket: PathBuf, state_dir: PathBuf },
    Invalid { errors: Vec<String> },
}

/// Runs the daemon's check of its configuration.
///
/// # Errors
///
/// The daemon cannot be run, or its configuration is invalid.
pub(super) fn check(daemon: &Path, listen: &[Listen], socket: Option<&Path>) -> Result<Checked, String> {
    let mut command = Command::new(daemon);
    // The service does not have the variables of this shell.
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
    let output = command
        .output()
        .map_err(|e| format!("{} cannot be run: {e}; name the daemon with --daemon", daemon.display()))?;
    match serde_json::from_slice(&output.stdout) {
        Ok(Report::Valid { listen, socket, state_dir }) => {
            let listen = listen.iter().filter_map(|address| address.parse().ok()).collect();
            Ok(Checked { listen, socket: Some(socket), state_dir: Some(state_dir) })
        }
        Ok(Report::Invalid { errors }) => Err(format!("the service would not start: {}", errors.join("; "))),
        Err(_) if !output.status.success() && !output.stderr.is_empty() => {
            let error = String::from_utf8_lossy(&output.stderr);
            let error = error.trim_end().trim_start_matches("sse-busd: ");
            Err(format!("the service would not start: {error}"))
        }
        Err(_) => Err(format!("{} is not the daemon of this version; name that with --daemon", daemon.display())),
    }
}

/// The daemon beside this program.
///
/// # Errors
///
/// The system does not say where this program is.
pub(super) fn beside() -> Result<PathBuf, String> {
    let name = format!("sse-busd{}", env::consts::EXE_SUFFIX);
    let this = env::current_exe().map_err(|e| format!("where this program is cannot be told: {e}; use --daemon"))?;
    let beside = this.with_file_name(&name);
    let folders: Vec<_> = env::var_os("PATH").iter().flat_map(env::split_paths).collect();
    if folders.iter().any(|folder| Some(folder.as_path()) == beside.parent()) {
        return Ok(beside);
    }
    // A link in the path outlives the version that it shows to, as Homebrew has them.
    let real = beside.canonicalize().ok();
    let is_link = |path: &PathBuf| path.is_absolute() && real.is_some() && path.canonicalize().ok() == real;
    Ok(folders.iter().map(|folder| folder.join(&name)).find(is_link).unwrap_or(beside))
}
