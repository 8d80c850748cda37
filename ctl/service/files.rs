//! Writes and removes the files of a service. Files that `install` did not write are never changed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    error::ServiceError,
    plan::{File, has_mark},
};
use crate::{exit::Failure, output::Output, visible::visible};

/// The change of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Change {
    Written,
    Updated,
    Unchanged,
    /// A package has installed the same file.
    Packaged,
    Removed,
    /// Kept, because `install` did not write it.
    Kept,
}

impl Change {
    /// Prints the change of a file.
    pub(super) fn print(self, output: &Output, file: &Path) -> io::Result<()> {
        #[derive(Serialize)]
        struct Changed<'a> {
            file: &'a Path,
            change: Change,
        }
        let text = match self {
            Change::Written => "written",
            Change::Updated => "updated",
            Change::Unchanged => "unchanged",
            Change::Packaged => "already installed by a package",
            Change::Removed => "removed",
            Change::Kept => "kept: it was not written by `sse-busctl service install`",
        };
        let sentence = || format!("{}: {text}", visible(&file.display().to_string()));
        output.print(sentence, &Changed { file, change: self })
    }
}

/// Returns the content of a file, or `None` if it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, ServiceError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(ServiceError::Read(path.to_owned(), e)),
    }
}

/// Returns the path of the same file in a directory of packages, if there is one.
pub(super) fn packaged(file: &File, package_directories: &[&str]) -> Option<PathBuf> {
    let name = file.path.file_name()?;
    package_directories
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| {
            // The manager also uses the first one that exists.
            path.exists()
        })
        .filter(|path| fs::read(path).is_ok_and(|content| content == file.bytes()))
}

/// Returns the necessary change of each file. Fails before any change if a file must not be overwritten.
pub(super) fn compare(files: &[File], package_directories: &[&str], force: bool) -> Result<Vec<Change>, ServiceError> {
    files
        .iter()
        .map(|file| match read(&file.path)? {
            Some(content) if !has_mark(&content) && !force => Err(ServiceError::ForeignFile(file.path.clone())),
            Some(_) if packaged(file, package_directories).is_some() => Ok(Change::Removed),
            None if packaged(file, package_directories).is_some() => Ok(Change::Packaged),
            Some(content) if content == file.bytes() => Ok(Change::Unchanged),
            Some(_) => Ok(Change::Updated),
            None => Ok(Change::Written),
        })
        .collect()
}

/// Changes files, and prints the changes.
pub(super) fn apply(output: &Output, files: &[File], changes: &[Change]) -> Result<(), Failure> {
    for (file, change) in files.iter().zip(changes) {
        match change {
            Change::Written | Change::Updated => write(file)?,
            Change::Removed => remove_file(&file.path)?,
            _ => {}
        }
        change.print(output, &file.path)?;
    }
    Ok(())
}

fn write(file: &File) -> Result<(), ServiceError> {
    let failed = |e: io::Error| ServiceError::Write(file.path.clone(), e);
    if let Some(directory) = file.path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    // A rename is atomic for a manager that reads the file meanwhile, and replaces a link instead of its target.
    let mut new = file.path.clone().into_os_string();
    new.push(".new");
    fs::write(&new, file.bytes()).map_err(failed)?;
    fs::rename(&new, &file.path).map_err(failed)
}

fn remove_file(path: &Path) -> Result<(), ServiceError> {
    fs::remove_file(path).map_err(|e| ServiceError::Remove(path.to_owned(), e))
}

/// Removes a file if it exists, and prints that.
pub(super) fn remove(output: &Output, path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_ok() {
        remove_file(path)?;
        Change::Removed.print(output, path)?;
    }
    Ok(())
}

/// Removes a directory and its parents, at most `levels` of them, as long as they are empty.
pub(super) fn remove_empty(innermost: &Path, levels: usize) {
    for directory in innermost.ancestors().take(levels) {
        if fs::remove_dir(directory).is_err() {
            return;
        }
    }
}
