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

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_is_trusted_by_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("it's");
        assert!(
            matches!(check_directory(&directory), Err(Exposure::Unknown(e)) if e.kind() == io::ErrorKind::NotFound)
        );
        create_directory(&directory).unwrap();
        for (mode, trusted) in [(0o700, true), (0o755, true), (0o775, false), (0o757, false), (0o1777, true)] {
            set_mode(&directory, mode);
            match check_directory(&directory) {
                Ok(()) => assert!(trusted, "{mode:o}"),
                Err(exposure) => {
                    assert!(!trusted, "{mode:o}: {exposure}");
                    assert!(exposure.fix().unwrap().starts_with("chmod go-w '/"), "{exposure}");
                }
            }
        }
    }

    #[test]
    fn a_file_is_trusted_by_its_mode_and_type() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        drop(create_file(&path, true).unwrap());
        let modes = [(0o600, true, true), (0o644, true, false), (0o620, false, false), (0o602, false, false)];
        for (mode, written, read) in modes {
            set_mode(&path, mode);
            assert_eq!(check_file(&path, Forbidden::Write).is_ok(), written, "{mode:o}");
            assert_eq!(check_file(&path, Forbidden::ReadOrWrite).is_ok(), read, "{mode:o}");
            let file = File::open(&path).unwrap();
            assert_eq!(check_open_file(&path, &file, Forbidden::ReadOrWrite).is_ok(), read, "{mode:o}");
        }
        assert!(matches!(check_file(folder.path(), Forbidden::Write), Err(Exposure::NotAFile)));
    }

    #[test]
    fn directories_that_deny_access_are_found_along_the_whole_path() {
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o755);
        let (outer, inner) = (folder.path().join("outer"), folder.path().join("outer/inner"));
        fs::create_dir_all(&inner).unwrap();
        let socket = inner.join("bus.sock");
        let own = rustix::process::geteuid().as_raw();
        let (outer, inner) = (outer.canonicalize().unwrap(), inner.canonicalize().unwrap());
        for (outer_mode, inner_mode, closed) in [
            (0o755, 0o711, vec![]),
            (0o700, 0o711, vec![&outer]),
            (0o711, 0o700, vec![&inner]),
            (0o700, 0o700, vec![&inner, &outer]),
            (0o750, 0o711, vec![]),
        ] {
            set_mode(&outer, outer_mode);
            set_mode(&inner, inner_mode);
            assert_eq!(
                closed_directories(&socket, &[4242], &[]),
                closed.iter().map(|path| (**path).clone()).collect::<Vec<_>>()
            );
            assert_eq!(closed_directories(&socket, &[], &[4242]).len(), closed.len());
            assert_eq!(closed_directories(&socket, &[own], &[]), [""; 0].map(PathBuf::from));
        }
    }

    #[test]
    fn permissions_for_others_do_not_apply_to_the_group_of_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o755);
        let directory = folder.path().join("directory");
        fs::create_dir(&directory).unwrap();
        let group = std::os::unix::fs::MetadataExt::gid(&directory.metadata().unwrap());
        for (mode, keeps_out_own, keeps_out_other) in
            [(0o711, false, false), (0o710, false, false), (0o701, true, false), (0o700, true, true)]
        {
            set_mode(&directory, mode);
            let keeps_out = |gid| !closed_directories(&directory.join("bus.sock"), &[], &[gid]).is_empty();
            assert_eq!((keeps_out(group), keeps_out(group + 1)), (keeps_out_own, keeps_out_other), "{mode:o}");
        }
    }

    #[test]
    fn a_directory_that_does_not_exist_cannot_be_synced() {
        let folder = tempfile::tempdir().unwrap();
        sync_directory(folder.path()).unwrap();
        let error = sync_directory(&folder.path().join("none")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    #[ignore = "needs root: acts as two users"]
    fn permissions_of_the_owner_apply_to_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o755);
        let directory = folder.path().join("directory");
        fs::create_dir(&directory).unwrap();
        chown(&directory, Some(4242), None).unwrap();
        for (mode, keeps_out_owner, keeps_out_other) in
            [(0o700, false, true), (0o711, false, false), (0o611, true, false), (0o600, true, true)]
        {
            set_mode(&directory, mode);
            let keeps_out = |uid| !closed_directories(&directory.join("bus.sock"), &[uid], &[]).is_empty();
            let expected = (keeps_out_owner, keeps_out_other, false);
            assert_eq!((keeps_out(4242), keeps_out(4243), keeps_out(0)), expected, "{mode:o}");
        }
    }

    #[test]
    #[ignore = "needs root: acts as two users"]
    fn files_of_another_user_are_not_trusted() {
        const NOBODY: u32 = 65534;
        let folder = tempfile::tempdir().unwrap();
        let (directory, file) = (folder.path().join("directory"), folder.path().join("file"));
        create_directory(&directory).unwrap();
        drop(create_file(&file, true).unwrap());
        let (to_directory, to_file) = (folder.path().join("to_directory"), folder.path().join("to_file"));
        symlink(&directory, &to_directory).unwrap();
        symlink(&file, &to_file).unwrap();
        let trusted = || [check_directory(&to_directory).is_ok(), check_file(&to_file, Forbidden::Write).is_ok()];
        assert_eq!(trusted(), [true, true]);
        // The owner of a link can change its target.
        lchown(&to_directory, Some(NOBODY), None).unwrap();
        lchown(&to_file, Some(NOBODY), None).unwrap();
        assert_eq!(trusted(), [false, false]);
        lchown(&to_directory, Some(0), None).unwrap();
        lchown(&to_file, Some(0), None).unwrap();
        chown(&directory, Some(NOBODY), None).unwrap();
        chown(&file, Some(NOBODY), None).unwrap();
        assert_eq!(trusted(), [false, false]);
    }
}
