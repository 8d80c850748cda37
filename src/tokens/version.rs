//! The version of the token file, by which the daemon detects that it must read the file again.

use std::{fs::Metadata, io, path::Path, time::SystemTime};

/// See [`TokenFile::version`](super::TokenFile::version).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    file: Option<Stamp>,
    /// Equals `file` unless the path is a symbolic link.
    link: Option<Stamp>,
    directory: Option<Access>,
}

/// Metadata that changes with a file's content or permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    /// The inode. Each change of the tokens creates a new file.
    number: u64,
    bytes: u64,
    modified: Option<SystemTime>,
    /// The ctime in seconds and nanoseconds. Unlike the time of modification it cannot be set back.
    changed: (i64, i64),
    access: Access,
}

/// Mode and owner.
type Access = (u32, u32);

impl Stamp {
    #[cfg(unix)]
    fn of(data: &Metadata) -> Stamp {
        use std::os::unix::fs::MetadataExt as _;
        Stamp {
            number: data.ino(),
            bytes: data.len(),
            modified: data.modified().ok(),
            changed: (data.ctime(), data.ctime_nsec()),
            access: (data.mode(), data.uid()),
        }
    }

    #[cfg(not(unix))]
    fn of(data: &Metadata) -> Stamp {
        Stamp { number: 0, bytes: data.len(), modified: data.modified().ok(), changed: (0, 0), access: (0, 0) }
    }
}

impl Version {
    /// Returns the version of a file in a directory. A missing or unreadable file also has a version.
    pub(super) fn of(path: &Path, directory: &Path) -> Version {
        let stamp = |data: io::Result<Metadata>| data.ok().as_ref().map(Stamp::of);
        Version {
            file: stamp(path.metadata()),
            link: stamp(path.symlink_metadata()),
            // The rest of its metadata changes with every other file there.
            directory: stamp(directory.metadata()).map(|stamp| stamp.access),
        }
    }
}
