//! The version of the token file, by which the daemon finds out that it has to read the file again.

use std::{fs::Metadata, io, path::Path, time::SystemTime};

/// See [`TokenFile::version`](super::TokenFile::version).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    file: Option<Stamp>,
    /// The same as the file, unless that is reached through a link.
    link: Option<Stamp>,
    directory: Option<Access>,
}

/// What changes with a file's content or with its permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    /// Each change of the tokens makes a file of its own.
    number: u64,
    bytes: u64,
    modified: Option<SystemTime>,
    /// Seconds and nanoseconds. Nobody can set it back, unlike the time of modification.
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
    /// The version of a file in a directory. A file that is not there or cannot be examined has one, too.
    pub(super) fn of(path: &Path, directory: &Path) -> Version {
        let stamp = |data: io::Result<Metadata>| data.ok().as_ref().map(Stamp::of);
        Version {
            file: stamp(path.metadata()),
            link: stamp(path.symlink_metadata()),
            // The rest of it changes with every other file there.
            directory: stamp(directory.metadata()).map(|stamp| stamp.access),
        }
    }
}
