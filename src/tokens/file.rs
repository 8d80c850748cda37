//! The file that stores the tokens. Changes replace it as a whole, one at a time, and only its user can access it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    secret::{Digest, PREFIX, Secret, random_name},
    token::{Scope, Token},
    version::Version,
};
use crate::{
    limits::TOKENS_MAX,
    private_fs::{self, Forbidden},
    topic::Filter,
};

/// The properties of a new token.
#[derive(Clone, Debug, Default)]
pub struct NewToken {
    /// The name; it must not be in use.
    pub name: Option<String>,
    /// The allowed operations; at least one.
    pub scopes: Vec<Scope>,
    /// The allowed topics; all if empty.
    pub topics: Vec<Filter>,
    /// When it expires, in milliseconds since 1970 (UTC).
    pub expires: Option<u64>,
}

/// The file that stores the tokens. Only its user can read and write it.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    tokens: Vec<Token>,
}

impl TokenFile {
    /// Returns the token file of a state directory.
    pub fn in_directory(state: &Path) -> TokenFile {
        TokenFile { path: state.join("tokens.json") }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the version of the file, which changes with its content and its permissions.
    pub fn version(&self) -> Version {
        Version::of(&self.path, self.directory())
    }

    /// Returns the tokens, including expired ones. Without a file there are none.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is invalid, or other users can write or replace it. The message contains a fix.
    pub fn read(&self) -> io::Result<Vec<Token>> {
        let failed = |e: io::Error| self.error(e.kind(), &e.to_string());
        let text = match private_fs::open(File::options().read(true), &self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed(e)),
            Ok(file) => {
                self.check(&file)?;
                io::read_to_string(file).map_err(failed)?
            }
        };
        let content: Content = serde_json::from_str(&text).map_err(|e| {
            self.error(io::ErrorKind::InvalidData, &format!("{e}; fix it, or remove it and create new tokens"))
        })?;
        Ok(content.tokens)
    }

    /// Creates a token, and removes expired ones.
    ///
    /// # Errors
    ///
    /// The file cannot be written, the name is in use, or there are already [`TOKENS_MAX`] tokens.
    pub fn create(&self, new: NewToken, now: u64) -> io::Result<(Token, Secret)> {
        let secret = Secret::random(PREFIX)?;
        let NewToken { name, scopes, topics, expires } = new;
        let digest = Digest::of(secret.reveal());
        let token = Token { id: random_name("t")?, name, scopes, topics, created: now, expires, digest };
        self.change(|tokens| {
            tokens.retain(|token| !token.is_expired(now));
            if let Some(name) = &token.name
                && tokens.iter().any(|other| other.name.as_ref() == Some(name) || other.id == *name)
            {
                let message = format!(
                    "a token named `{}` already exists; revoke it, or choose another name",
                    name.escape_debug()
                );
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
            }
            if tokens.len() >= TOKENS_MAX {
                let message = format!("there are already {TOKENS_MAX} tokens, the maximum; revoke some");
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
            }
            tokens.push(token.clone());
            Ok(())
        })?;
        Ok((token, secret))
    }

    /// Revokes the token with this id or name, and returns it.
    ///
    /// # Errors
    ///
    /// The file cannot be written, or there is no such token.
    pub fn revoke(&self, address: &str) -> io::Result<Token> {
        let mut revoked = None;
        self.change(|tokens| {
            let found = tokens.iter().position(|t| t.id == address || t.name.as_deref() == Some(address));
            let found = found.ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("there is no token `{}`", address.escape_debug()))
            })?;
            revoked = Some(tokens.remove(found));
            Ok(())
        })?;
        revoked.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Replaces the file as a whole, one change at a time.
    fn change(&self, change: impl FnOnce(&mut Vec<Token>) -> io::Result<()>) -> io::Result<()> {
        let failed = |e: io::Error| self.error(e.kind(), &e.to_string());
        private_fs::create_directory(self.directory()).map_err(failed)?;
        let lock = private_fs::create_file(&self.path.with_extension("lock"), false).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut tokens = self.read()?;
        change(&mut tokens)?;
        let new = self.path.with_extension("new");
        // Left over from a crash.
        let _ = fs::remove_file(&new);
        let mut file = private_fs::create_file(&new, true).map_err(failed)?;
        let mut text = serde_json::to_vec_pretty(&Content { tokens })?;
        text.push(b'\n');
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        // Without the sync a revoked token could reappear after a power failure.
        fs::rename(&new, &self.path).and_then(|()| private_fs::sync_directory(self.directory())).map_err(failed)
    }

    /// Refuses a file to which other users could add tokens, or which they could replace with one that contains revoked
    /// tokens.
    fn check(&self, file: &File) -> io::Result<()> {
        private_fs::check_open_file(&self.path, file, Forbidden::ReadOrWrite)
            .and_then(|()| private_fs::check_file(&self.path, Forbidden::ReadOrWrite))
            .and_then(|()| private_fs::check_directory(self.directory()))
            .map_err(|e| self.error(io::ErrorKind::PermissionDenied, &e.to_string()))
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn error(&self, kind: io::ErrorKind, why: &str) -> io::Error {
        io::Error::new(kind, format!("the tokens in {}: {why}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> NewToken {
        NewToken { name: Some(name.into()), scopes: vec![Scope::Publish], ..NewToken::default() }
    }

    #[test]
    fn the_file_contains_no_secret_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(&folder.path().join("state"));
        assert_eq!(file.read().unwrap(), []);
        let (token, secret) = file.create(named("phone"), 1).unwrap();
        assert!(secret.reveal().starts_with(PREFIX) && secret.reveal().len() == PREFIX.len() + 64);
        assert!(!format!("{secret:?}").contains(secret.reveal()));
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(text.contains("phone") && !text.contains(&secret.reveal()[PREFIX.len()..]), "{text}");
        assert_eq!(file.read().unwrap(), std::slice::from_ref(&token));
        assert!(token.is(&Digest::of(secret.reveal())) && !token.is(&Digest::of("ssebus_")));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::metadata(folder.path().join("state")).unwrap().permissions().mode() & 0o777, 0o700);
            fs::set_permissions(file.path(), fs::Permissions::from_mode(0o620)).unwrap();
            let error = file.read().unwrap_err().to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_in_a_directory_that_others_can_write_is_not_trusted() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        let (token, _) = file.create(named("phone"), 1).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        // The sticky bit prevents other users from removing or replacing our files.
        for (mode, trusted) in [(0o755, true), (0o775, false), (0o757, false), (0o1777, true), (0o700, true)] {
            let before = file.version();
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_ne!(file.version(), before, "{mode:o}");
            match file.read() {
                Ok(tokens) => assert!(trusted && tokens == [token.clone()], "{mode:o}"),
                Err(error) => assert!(!trusted && error.to_string().contains("chmod go-w"), "{mode:o}: {error}"),
            }
            assert_eq!(file.create(named(&format!("{mode:o}")), 1).is_ok(), trusted, "{mode:o}");
            if trusted {
                file.revoke(&format!("{mode:o}")).unwrap();
            }
        }
    }

    #[cfg(unix)]
    #[test]
    #[ignore = "needs root: acts as two users"]
    fn a_file_in_a_directory_of_another_user_is_not_trusted() {
        use std::os::unix::fs::{PermissionsExt as _, chown};
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        file.create(named("phone"), 1).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // The owner of the directory could restore a revoked token.
        chown(folder.path(), Some(65534), None).unwrap();
        let error = file.read().unwrap_err().to_string();
        assert!(error.contains("another user (uid 65534)"), "{error}");
        file.create(named("tablet"), 1).unwrap_err();
    }

    #[cfg(unix)]
    #[test]
    fn changed_permissions_and_a_restored_modification_time_change_the_version() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        file.create(named("phone"), 1).unwrap();
        let (before, modified) = (file.version(), fs::metadata(file.path()).unwrap().modified().unwrap());
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o666)).unwrap();
        assert_ne!(file.version(), before);
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        let before = file.version();
        // The same number of bytes, and the same time.
        fs::write(file.path(), fs::read_to_string(file.path()).unwrap().replace("phone", "enoph")).unwrap();
        File::options().write(true).open(file.path()).unwrap().set_modified(modified).unwrap();
        assert_ne!(file.version(), before);
    }

    #[cfg(unix)]
    #[test]
    fn a_named_pipe_instead_of_a_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        for name in ["tokens.json", "tokens.lock"] {
            let path = folder.path().join(name);
            let _ = fs::remove_file(&path);
            let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(made.success());
            if name == "tokens.json" {
                assert!(file.read().unwrap_err().to_string().contains("is not a file"));
            }
            file.create(named("a"), 1).unwrap_err();
            fs::remove_file(path).unwrap();
        }
        file.create(named("a"), 1).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_changes_its_version_with_its_target() {
        let folder = tempfile::tempdir().unwrap();
        let real = TokenFile::in_directory(&folder.path().join("real"));
        real.create(named("a"), 1).unwrap();
        let linked = TokenFile::in_directory(folder.path());
        std::os::unix::fs::symlink(real.path(), linked.path()).unwrap();
        let before = linked.version();
        real.revoke("a").unwrap();
        assert_ne!(linked.version(), before);
    }

    #[test]
    fn tokens_are_revoked_by_name_or_id_and_removed_when_expired() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        let (a, _) = file.create(named("a"), 1).unwrap();
        let (b, _) = file.create(NewToken { expires: Some(10), ..named("b") }, 1).unwrap();
        assert_eq!(file.create(named("a"), 1).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(!b.is_expired(9) && b.is_expired(10) && !a.is_expired(u64::MAX));
        assert_eq!(file.revoke("a").unwrap(), a);
        assert_eq!(file.revoke("a").unwrap_err().kind(), io::ErrorKind::NotFound);
        let (c, _) = file.create(named("c"), 10).unwrap();
        assert_eq!(file.read().unwrap(), std::slice::from_ref(&c));
        assert_eq!(file.revoke(&c.id).unwrap(), c);
    }

    #[test]
    fn an_invalid_file_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        file.create(named("a"), 1).unwrap();
        let broken = fs::read_to_string(file.path()).unwrap().replace("digest\": \"", "digest\": \"x");
        fs::write(file.path(), &broken).unwrap();
        assert_eq!(file.read().unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(file.create(named("b"), 1).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read_to_string(file.path()).unwrap(), broken);
    }

    #[test]
    fn concurrent_changes_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        std::thread::scope(|scope| {
            for n in 0..16 {
                let file = &file;
                scope.spawn(move || file.create(named(&format!("t{n}")), 1).unwrap());
            }
        });
        assert_eq!(file.read().unwrap().len(), 16);
    }
}
