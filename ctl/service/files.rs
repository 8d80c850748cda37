//! The files of a service, written and removed: only what `install` has written is ever touched.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::plan::{File, is_ours};
use crate::{
    exit::Failure,
    output::{Output, visible},
};

/// What has become of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Change {
    Written,
    Updated,
    Unchanged,
    /// The system has the same, from a package.
    Packaged,
    Removed,
    /// Not written by `install`.
    Kept,
}

impl Change {
    /// Says it of a file.
    pub(super) fn say(self, output: &Output, file: &Path) -> io::Result<()> {
        #[derive(Serialize)]
        struct Changed<'a> {
            file: &'a Path,
            change: Change,
        }
        let what = match self {
            Change::Written => "written",
            Change::Updated => "updated",
            Change::Unchanged => "unchanged",
            Change::Packaged => "there already, from a package",
            Change::Removed => "removed",
            Change::Kept => "kept: it was not written by `sse-busctl service install`",
        };
        let sentence = || format!("{}: {what}", visible(&file.display().to_string()));
        output.say(sentence, &Changed { file, change: self })
    }
}

/// What stands at a file's path; nothing if there is no file.
///
/// # Errors
///
/// It cannot be read.
pub(super) fn present(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(format!("{} cannot be read: {e}", path.display())),
    }
}

/// The same file in one of the folders of packages.
pub(super) fn packaged(file: &File, shared: &[&str]) -> Option<PathBuf> {
    let name = file.path.file_name()?;
    shared
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| {
            // The first that there is counts, for the manager too.
            path.exists()
        })
        .filter(|path| fs::read(path).is_ok_and(|content| content == file.bytes()))
}

/// What is to be done to files so that they are as they should be. Nothing is changed before all is known to be allowed.
///
/// # Errors
///
/// Names a file that is not ours to overwrite.
pub(super) fn compare(files: &[File], shared: &[&str], force: bool) -> Result<Vec<Change>, String> {
    files
        .iter()
        .map(|file| match present(&file.path)? {
            Some(content) if !is_ours(&content) && !force => Err(format!(
                "{} was not written by `sse-busctl service install`; move it away, or overwrite it with --force",
                file.path.display()
            )),
            Some(_) if packaged(file, shared).is_some() => Ok(Change::Removed),
            None if packaged(file, shared).is_some() => Ok(Change::Packaged),
            Some(content) if content == file.bytes() => Ok(Change::Unchanged),
            Some(_) => Ok(Change::Updated),
            None => Ok(Change::Written),
        })
        .collect()
}

/// Changes files, and says so.
pub(super) fn change(output: &Output, files: &[File], changes: &[Change]) -> Result<(), Failure> {
    for (file, change) in files.iter().zip(changes) {
        match change {
            Change::Written | Change::Updated => write(file)?,
            Change::Removed => remove_file(&file.path)?,
            _ => {}
        }
        change.say(output, &file.path)?;
    }
    Ok(())
}

fn write(file: &File) -> Result<(), String> {
    let failed = |e: io::Error| format!("{} cannot be written: {e}", file.path.display());
    if let Some(folder) = file.path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    // In one step: a manager that looks meanwhile sees the one or the other. What a link shows to is not ours.
    let mut new = file.path.clone().into_os_string();
    new.push(".new");
    fs::write(&new, file.bytes()).map_err(failed)?;
    fs::rename(&new, &file.path).map_err(failed)
}

fn remove_file(path: &Path) -> Result<(), String> {
    fs::remove_file(path).map_err(|e| format!("{} cannot be removed: {e}", path.display()))
}

/// Removes a file that is there, and says so.
pub(super) fn remove(output: &Output, path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_ok() {
        remove_file(path)?;
        Change::Removed.say(output, path)?;
    }
    Ok(())
}

/// Removes folders from the innermost on, as long as nothing is in them.
pub(super) fn remove_empty(innermost: &Path, most: usize) {
    for folder in innermost.ancestors().take(most) {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}
