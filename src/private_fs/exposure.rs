//! Why a file or directory is not trusted.

use std::{fmt, io, path::PathBuf};

use crate::shell::quoted;

/// What other users must not be able to do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// Change it.
    Write,
    /// Change it or read it.
    ReadOrWrite,
}

/// Why a file or directory is not trusted. The message contains a command that fixes it, if there is one.
#[derive(Debug)]
#[non_exhaustive]
pub enum Exposure {
    /// It cannot be examined.
    Unknown(io::Error),
    /// It, or a link to it, belongs to another user. Contains the uid.
    OtherOwner(u32),
    /// Other users can create, remove or replace files in the directory.
    WritableDirectory(PathBuf),
    /// Other users can access the file in a forbidden way.
    OpenFile(PathBuf, Forbidden),
    /// It is not a regular file.
    NotAFile,
}

impl Exposure {
    /// Returns the shell command that fixes it, if there is one.
    pub fn fix(&self) -> Option<String> {
        let (mode, path) = match self {
            Exposure::WritableDirectory(path) | Exposure::OpenFile(path, Forbidden::Write) => ("go-w", path),
            Exposure::OpenFile(path, Forbidden::ReadOrWrite) => ("600", path),
            Exposure::Unknown(_) | Exposure::OtherOwner(_) | Exposure::NotAFile => return None,
        };
        Some(format!("chmod {mode} {}", quoted(&path.to_string_lossy())))
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exposure::Unknown(error) => return error.fmt(f),
            Exposure::OtherOwner(uid) => write!(f, "it belongs to another user (uid {uid})")?,
            Exposure::WritableDirectory(_) | Exposure::OpenFile(_, Forbidden::Write) => {
                f.write_str("other users can write to it")?;
            }
            Exposure::OpenFile(_, Forbidden::ReadOrWrite) => f.write_str("other users can read or write it")?,
            Exposure::NotAFile => f.write_str("it is not a file; remove it")?,
        }
        match (self, self.fix()) {
            (Exposure::OpenFile(..), Some(fix)) => {
                write!(f, "; if its content can be trusted, prevent that with `{fix}`")
            }
            (_, Some(fix)) => write!(f, "; prevent that with `{fix}`"),
            (_, None) => Ok(()),
        }
    }
}

impl std::error::Error for Exposure {}

impl From<Exposure> for io::Error {
    fn from(exposure: Exposure) -> io::Error {
        match exposure {
            Exposure::Unknown(error) => error,
            exposure => io::Error::new(io::ErrorKind::PermissionDenied, exposure.to_string()),
        }
    }
}
