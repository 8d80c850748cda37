//! The daemon that the service runs: where its program is, and what it makes of its configuration.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::listen::Listen;

/// What the daemon makes of its configuration, as `sse-busd --check` says.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) listen: Vec<Listen>,
    pub(super) socket: Option<PathBuf>,
    pub(super) state_dir: Option<PathBuf>,
}

/// Has the daemon check its configuration.
///
/// # Errors
///
/// It is not there, or says what is wrong.
pub(super) fn check(daemon: &Path, listen: &[Listen], socket: Option<&Path>) -> Result<Checked, String> {
    let mut command = Command::new(daemon);
    // The service will see nothing of what this shell has set.
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
    let output = command
        .output()
        .map_err(|e| format!("{} cannot be run: {e}; name the daemon with --daemon", daemon.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim_end().trim_start_matches("sse-busd: ");
        return Err(format!("the service would not start: {said}"));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let values =
        |key| said.lines().filter_map(move |line: &str| Some(line.strip_prefix(key)?.strip_prefix(' ')?.trim_start()));
    let value = |key| values(key).next();
    let checked = Checked {
        listen: values("listen").filter_map(|text| text.parse().ok()).collect(),
        socket: value("socket").map(PathBuf::from),
        state_dir: value("state_dir").map(PathBuf::from),
    };
    if checked.listen.is_empty() || checked.socket.is_none() {
        return Err(format!("{} is not the daemon of this version; name that with --daemon", daemon.display()));
    }
    Ok(checked)
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
