//! Why the files of history cannot be opened, read or written.

use std::{io, path::PathBuf};

use sse_bus::private_fs::Exposure;

/// History on disk cannot be opened. The message names the file, the cause and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used: {error}; choose another directory with --state-dir, or --history memory", .path.display())]
pub(crate) struct OpenError {
    pub(super) path: PathBuf,
    pub(super) error: StoreError,
}

/// Why an operation on the files failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// The database is damaged and can be set aside.
    #[error(transparent)]
    Damaged(Damage),
    /// There is no space: on the disk, in the user's quota, or for a file of this size.
    #[error("{0}")]
    Full(io::Error),
    #[error("another sse-busd has it open")]
    InUse,
    /// The disk failed, which does not prove that the file is damaged.
    #[error("{0}")]
    Disk(io::Error),
    #[error("{0}")]
    State(serde_json::Error),
    #[error("a newer sse-busd wrote it; use that version (its schema is {schema}, this version reads up to {newest})")]
    NewerSchema { schema: u32, newest: u32 },
    #[error("its content is not what this daemon wrote; restart sse-busd to continue with that content")]
    OtherContent,
    #[error("{} was changed by another process", .0.display())]
    Changed(PathBuf),
    #[error("the write-ahead file belongs to another bus")]
    OtherBus,
    #[error("the file is not open")]
    NotOpen,
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Exposed(#[from] ExposedFile),
}

/// How a database is damaged.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("{0}")]
    Database(redb::Error),
    /// The database library has panicked.
    #[error("it cannot be read")]
    Unreadable,
    #[error("its epoch is invalid")]
    Epoch,
}

/// The name of an open file does not lead to it.
#[derive(Debug, thiserror::Error)]
pub(super) enum NameError {
    #[error("{} is not open", .0.display())]
    NotOpen(PathBuf),
    #[error("{} was removed", .0.display())]
    Removed(PathBuf),
    #[error("{} cannot be examined: {error}", .path.display())]
    Unknown { path: PathBuf, error: io::Error },
    #[error("{} was replaced by another file", .0.display())]
    Replaced(PathBuf),
}

/// Another user owns or can change a file or its directory.
#[derive(Debug, thiserror::Error)]
#[error("{}: {exposure}", .path.display())]
pub(super) struct ExposedFile {
    pub(super) path: PathBuf,
    pub(super) exposure: Exposure,
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        redb::Error::Io(error).into()
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> StoreError {
        match error {
            redb::Error::DatabaseAlreadyOpen => StoreError::InUse,
            redb::Error::Io(e) if is_full(&e) => StoreError::Full(e),
            // A failing disk does not prove that the file is damaged; a file that ends too early is damaged.
            redb::Error::Io(e) if !matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                StoreError::Disk(e)
            }
            e => StoreError::Damaged(Damage::Database(e)),
        }
    }
}

/// Returns true if an error means that there is no space: on the disk, in the user's quota, or for a file of this size.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
