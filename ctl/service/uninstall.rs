//! `sse-busctl service uninstall`: removes the files that `install` has written and, with `--purge`, those of the
//! daemon.

use std::path::{Path, PathBuf};

use sse_bus::endpoint::state_dir;

use super::{
    commands, daemon,
    error::ServiceError,
    files::{self, Change},
    manager::{Manager, ServiceConfig},
    plan::has_mark,
};
use crate::{exit::Failure, output::Output};

/// The files of the daemon in its state directory, which may contain other files.
const STATE_FILES: [&str; 5] = ["history.redb", "history.tail", "tokens.json", "tokens.lock", "tokens.new"];

pub(super) fn run(
    manager: &dyn Manager,
    output: &Output,
    config: &ServiceConfig,
    purge: bool,
    print: bool,
) -> Result<(), Failure> {
    let files = manager.files(config)?;
    let before_removal = manager.uninstall(config)?;
    if print {
        return commands::print(output, &[], &[before_removal, manager.after_removal()].concat());
    }
    let mut found = Vec::new();
    for file in &files {
        if let Some(content) = files::read(&file.path)? {
            found.push((file.path.clone(), has_mark(&content)));
        }
    }
    let packages = manager.package_directories();
    let is_installed = !found.is_empty() || files.iter().any(|file| files::packaged(file, packages).is_some());
    // Without a manager no service runs, and its files can be removed.
    let is_reachable = is_installed && manager.probe().is_none_or(|probe| commands::succeeds(&probe));
    if is_reachable && found.iter().all(|(_, ours)| *ours) {
        before_removal.iter().try_for_each(commands::perform)?;
    } else if !is_installed {
        eprintln!("sse-busctl: the service is not installed");
    }
    for (path, ours) in &found {
        if *ours {
            files::remove(output, path)?;
        } else {
            Change::Kept.print(output, path)?;
        }
    }
    if let Some(directory) = files.first().and_then(|file| file.path.parent())
        && found.iter().all(|(_, ours)| *ours)
    {
        remove_links(manager, output, directory)?;
    }
    if is_reachable {
        manager.after_removal().iter().try_for_each(commands::perform)?;
    }
    if let Some(log) = manager.log_file(config) {
        files::remove(output, &log)?;
    }
    let checked = daemon::check(&config.daemon, &[], config.socket.as_deref()).unwrap_or_default();
    let socket_directory = checked.socket.as_deref().and_then(Path::parent);
    if let Some(directory) = socket_directory.filter(|directory| directory.ends_with("sse-bus")) {
        files::remove_empty(directory, 1);
    }
    if purge {
        let state = checked.state_dir.map_or_else(state_dir, Ok).map_err(ServiceError::StateDirectory)?;
        remove_state(output, &state)?;
    }
    Ok(())
}

/// Removes the links that the manager has created, and directories that are empty then.
fn remove_links(manager: &dyn Manager, output: &Output, directory: &Path) -> Result<(), Failure> {
    for link in manager.links() {
        let link: PathBuf = directory.join(link);
        // A link to a file of a package is still valid, and kept.
        if !link.exists() {
            files::remove(output, &link)?;
        }
        files::remove_empty(link.parent().unwrap_or(directory), 1);
    }
    // For example `systemd/user`, if `install` has created it.
    files::remove_empty(directory, 2);
    Ok(())
}

/// Removes history and tokens.
fn remove_state(output: &Output, state: &Path) -> Result<(), Failure> {
    for name in STATE_FILES {
        files::remove(output, &state.join(name))?;
    }
    files::remove_empty(state, 1);
    Ok(())
}
