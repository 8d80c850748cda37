//! `sse-busctl service uninstall`: nothing stays that `install` has written. What the daemon has kept does, unless it is
//! to go as well.

use std::path::{Path, PathBuf};

use sse_bus::endpoint::state_dir;

use super::{
    Manager, Wanted, daemon,
    files::{self, Change},
    perform,
    plan::is_ours,
    show, succeeds,
};
use crate::{exit::Failure, output::Output};

/// What the daemon keeps in its state directory, which may hold other things.
const KEPT: [&str; 5] = ["history.redb", "history.tail", "tokens.json", "tokens.lock", "tokens.new"];

pub(super) fn run(
    manager: &dyn Manager,
    output: &Output,
    wanted: &Wanted,
    purge: bool,
    print: bool,
) -> Result<(), Failure> {
    let files = manager.files(wanted)?;
    let commands = manager.uninstall(wanted)?;
    if print {
        return show(output, &[], &[commands, manager.removed()].concat());
    }
    let mut found = Vec::new();
    for file in &files {
        if let Some(content) = files::present(&file.path)? {
            found.push((file.path.clone(), is_ours(&content)));
        }
    }
    let is_there = !found.is_empty() || files.iter().any(|file| files::packaged(file, manager.shared()).is_some());
    // Without a manager nothing runs, and its files can go.
    let reached = is_there && manager.probe().is_none_or(|probe| succeeds(&probe));
    if reached && found.iter().all(|(_, ours)| *ours) {
        commands.iter().try_for_each(perform)?;
    } else if !is_there {
        eprintln!("sse-busctl: the service is not installed");
    }
    for (path, ours) in &found {
        if *ours {
            files::remove(output, path)?;
        } else {
            Change::Kept.say(output, path)?;
        }
    }
    if let Some(folder) = files.first().and_then(|file| file.path.parent())
        && found.iter().all(|(_, ours)| *ours)
    {
        clear(manager, output, folder)?;
    }
    if reached {
        manager.removed().iter().try_for_each(perform)?;
    }
    if let Some(log) = manager.logged(wanted) {
        files::remove(output, &log)?;
    }
    let checked = daemon::check(&wanted.daemon, &[], wanted.socket.as_deref()).unwrap_or_default();
    if let Some(folder) = checked.socket.as_deref().and_then(Path::parent).filter(|folder| folder.ends_with("sse-bus"))
    {
        files::remove_empty(folder, 1);
    }
    if purge {
        let state = checked.state_dir.map_or_else(state_dir, Ok).map_err(|e| e.to_string())?;
        remove_state(output, &state)?;
    }
    Ok(())
}

/// Removes what the manager has noted, and the folders that are empty then.
fn clear(manager: &dyn Manager, output: &Output, folder: &Path) -> Result<(), Failure> {
    for note in manager.notes() {
        let note: PathBuf = folder.join(note);
        // What it shows to is there if a package brought it.
        if !note.exists() {
            files::remove(output, &note)?;
        }
        files::remove_empty(note.parent().unwrap_or(folder), 1);
    }
    // `systemd/user` and such, if `install` has made them.
    files::remove_empty(folder, 2);
    Ok(())
}

/// Removes history and tokens.
fn remove_state(output: &Output, state: &Path) -> Result<(), Failure> {
    for name in KEPT {
        files::remove(output, &state.join(name))?;
    }
    files::remove_empty(state, 1);
    Ok(())
}
