//! Checks that other users cannot write to a file or directory: for the local socket, tokens, history and the
//! configuration.
//!
//! Other users are all users except this one and root. A file is trusted if neither the file nor a link to it belongs
//! to another user and its mode excludes them. A directory is trusted if no other user can replace its files. The owner
//! of a directory always can; other users can if they have write permission, unless the sticky bit protects files of
//! other owners, as in `/tmp`.
//!
//! On Windows the directories of a user are private, and nothing is checked.

mod exposure;
#[cfg(all(test, unix))]
mod tests;

use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use rules::{check_owners, is_open, is_shared};

pub use self::exposure::{Exposure, Forbidden};

/// Checks that only this user and root can replace files in a directory.
///
/// # Errors
///
/// Returns why another user can. [`Exposure::Unknown`] includes a directory that does not exist.
pub fn check_directory(directory: &Path) -> Result<(), Exposure> {
    let (link, found) = examine(directory)?;
    check_owners(&[&link, &found])?;
    if is_shared(&found) { Err(Exposure::WritableDirectory(directory.to_owned())) } else { Ok(()) }
}

/// Checks that only this user and root can use a file in a forbidden way.
///
/// # Errors
///
/// Returns why another user can, or that it is not a regular file. [`Exposure::Unknown`] includes a file that does not
/// exist.
pub fn check_file(path: &Path, forbidden: Forbidden) -> Result<(), Exposure> {
    let (link, found) = examine(path)?;
    check_owners(&[&link])?;
    check_metadata(path, &found, forbidden)
}

/// Checks that only this user and root can change the files in a directory and in those below it, or add files. The parent of
/// the directory is checked as in [`check_directory`], the names below it that begin with a dot are not.
///
/// # Errors
///
/// Returns why another user can, for the first [`TREE_ENTRIES`] files. [`Exposure::Unknown`] includes a directory that does not
/// exist.
pub fn check_tree(directory: &Path) -> Result<(), Exposure> {
    let directory = directory.canonicalize().map_err(Exposure::Unknown)?;
    if let Some(parent) = directory.parent() {
        check_directory(parent)?;
    }
    let (mut left, mut directories) = (TREE_ENTRIES, vec![directory]);
    while let Some(directory) = directories.pop() {
        let found = directory.metadata().map_err(Exposure::Unknown)?;
        check_owners(&[&found])?;
        // A sticky bit protects existing files, but allows new ones.
        if is_open(&found, Forbidden::Write) {
            return Err(Exposure::WritableDirectory(directory));
        }
        for entry in directory.read_dir().map_err(Exposure::Unknown)?.flatten() {
            let Some(rest) = left.checked_sub(1) else { return Ok(()) };
            left = rest;
            let (path, Ok(found)) = (entry.path(), entry.metadata()) else { continue };
            match found.file_type() {
                _ if entry.file_name().as_encoded_bytes().starts_with(b".") => {}
                kind if kind.is_dir() => directories.push(path),
                kind if kind.is_file() => check_metadata(&path, &found, Forbidden::Write)?,
                _ => check_owners(&[&found])?,
            }
        }
    }
    Ok(())
}

/// Maximum number of files that [`check_tree`] examines, so that it takes less than a second.
pub const TREE_ENTRIES: usize = 10_000;

/// Checks a file that is already open, so that it cannot be replaced between the check and its use.
///
/// # Errors
///
/// Those of [`check_file`].
pub fn check_open_file(path: &Path, file: &File, forbidden: Forbidden) -> Result<(), Exposure> {
    check_metadata(path, &file.metadata().map_err(Exposure::Unknown)?, forbidden)
}

fn check_metadata(path: &Path, found: &Metadata, forbidden: Forbidden) -> Result<(), Exposure> {
    check_owners(&[found])?;
    match found {
        found if !found.is_file() => Err(Exposure::NotAFile),
        found if is_open(found, forbidden) => Err(Exposure::OpenFile(path.to_owned(), forbidden)),
        _ => Ok(()),
    }
}

/// Returns the directories above a path that deny access to at least one of these users or groups. Directories with
/// permissions for their group are not included, because the users may be in that group.
#[cfg(unix)]
pub fn closed_directories(path: &Path, uids: &[u32], gids: &[u32]) -> Vec<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    const BY_OWNER: u32 = 0o100;
    const BY_GROUP: u32 = 0o010;
    const BY_OTHERS: u32 = 0o001;
    let enters = |directory: &Metadata, bit| directory.mode() & bit != 0;
    let keeps_out = |directory: &Metadata| {
        let user_enters = |uid: u32| match directory.uid() {
            _ if uid == 0 => true,
            owner if owner == uid => enters(directory, BY_OWNER),
            _ => enters(directory, BY_GROUP | BY_OTHERS),
        };
        let group_enters = |gid: u32| match directory.gid() {
            owner if owner == gid => enters(directory, BY_GROUP),
            // Users of the group may also be in the group of the directory.
            _ => enters(directory, BY_GROUP | BY_OTHERS),
        };
        !uids.iter().all(|uid| user_enters(*uid)) || !gids.iter().all(|gid| group_enters(*gid))
    };
    // The permissions of symbolic links have no effect, only those of their targets.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let closed = directory.ancestors().filter(|ancestor| ancestor.metadata().is_ok_and(|found| keeps_out(&found)));
    closed.map(Path::to_owned).collect()
}

/// Returns the metadata of the path itself, which may be a symbolic link, and of its target.
fn examine(path: &Path) -> Result<(Metadata, Metadata), Exposure> {
    let found = path.symlink_metadata().and_then(|link| Ok((link, path.metadata()?)));
    found.map_err(Exposure::Unknown)
}

/// Creates a directory that only its user can access, and its parents, unless they exist.
///
/// # Errors
///
/// Those of the operating system.
pub fn create_directory(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)
}

/// Syncs the names in a directory to disk, so that created, renamed and removed files survive a crash.
///
/// # Errors
///
/// Those of the operating system: the directory cannot be read or synced.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    // On Windows a directory cannot be opened as a file.
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// Opens a file for writing that only its user can access. Creates it if it does not exist; with `new` it must not
/// exist.
///
/// # Errors
///
/// Those of the operating system and of [`open`].
pub fn create_file(path: &Path, new: bool) -> io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    open(options.write(true).create(true).create_new(new).truncate(false), path)
}

/// Opens a regular file. Never blocks, even if the path is a named pipe.
///
/// # Errors
///
/// Those of the operating system, and [`InvalidInput`](io::ErrorKind::InvalidInput) if it is not a regular file.
pub fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is not a file; remove it", path.display()),
        ));
    }
    Ok(file)
}

#[cfg(unix)]
mod rules {
    use std::{fs::Metadata, os::unix::fs::MetadataExt as _};

    use super::{Exposure, Forbidden};

    pub(super) fn check_owners(files: &[&Metadata]) -> Result<(), Exposure> {
        let own = rustix::process::geteuid().as_raw();
        let other = files.iter().map(|file| file.uid()).find(|uid| *uid != own && *uid != 0);
        other.map_or(Ok(()), |uid| Err(Exposure::OtherOwner(uid)))
    }

    /// Returns true if other users can write to a directory and no sticky bit protects its files.
    pub(super) fn is_shared(directory: &Metadata) -> bool {
        const STICKY: u32 = 0o1000;
        directory.mode() & 0o022 != 0 && directory.mode() & STICKY == 0
    }

    pub(super) fn is_open(file: &Metadata, forbidden: Forbidden) -> bool {
        let bits = match forbidden {
            Forbidden::Write => 0o022,
            Forbidden::ReadOrWrite => 0o066,
        };
        file.mode() & bits != 0
    }
}

#[cfg(not(unix))]
mod rules {
    use std::fs::Metadata;

    use super::{Exposure, Forbidden};

    #[expect(clippy::unnecessary_wraps, reason = "on Unix files have owners")]
    pub(super) fn check_owners(_: &[&Metadata]) -> Result<(), Exposure> {
        Ok(())
    }

    pub(super) fn is_shared(_: &Metadata) -> bool {
        false
    }

    pub(super) fn is_open(_: &Metadata, _: Forbidden) -> bool {
        false
    }
}
