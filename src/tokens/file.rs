//! The file that the tokens stand in. It is replaced as a whole, one change at a time, and only its user may touch it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Digest, PREFIX, Scope, Secret, Token, Version, random_name};
use crate::{
    limits::TOKENS_MAX,
    private_fs::{self, Forbidden},
    topic::Filter,
};

/// What a new token is to be.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What it is called; no other may be called the same.
    pub name: Option<String>,
    /// What it allows; at least one.
    pub scopes: Vec<Scope>,
    /// The topics that it may publish and subscribe to; all if empty.
    pub topics: Vec<Filter>,
    /// When it ends, in milliseconds since 1970 (UTC).
    pub expires: Option<u64>,
}

/// The file that the tokens stand in: readable and writable by its user alone.
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
    /// The file in a state directory.
    pub fn in_directory(state: &Path) -> TokenFile {
        TokenFile { path: state.join("tokens.json") }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the file: another whenever its content has changed, or who may write to it.
    pub fn version(&self) -> Version {
        Version::of(&self.path, self.directory())
    }

    /// The tokens, expired ones included. No file is no tokens.
    ///
    /// # Errors
    ///
    /// The file cannot be read or understood, or others may write or replace it. The message says which, and what to do.
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
            self.error(io::ErrorKind::InvalidData, &format!("{e}; mend it, or remove it and make new tokens"))
        })?;
        Ok(content.tokens)
    }

    /// Makes a token. Expired ones are forgotten.
    ///
    /// # Errors
    ///
    /// The file cannot be written, the name is taken, or there are [`TOKENS_MAX`] tokens already.
    pub fn create(&self, wanted: Wanted, now: u64) -> io::Result<(Token, Secret)> {
        let secret = Secret::random(PREFIX)?;
        let Wanted { name, scopes, topics, expires } = wanted;
        let digest = Digest::of(secret.reveal());
        let token = Token { id: random_name("t")?, name, scopes, topics, created: now, expires, digest };
        self.change(|tokens| {
            tokens.retain(|token| !token.is_expired(now));
            if let Some(name) = &token.name
                && tokens.iter().any(|other| other.name.as_ref() == Some(name) || other.id == *name)
            {
                let message =
                    format!("there is a token `{}` already; revoke it, or choose another name", name.escape_debug());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
            }
            if tokens.len() >= TOKENS_MAX {
                let message = format!("there are {TOKENS_MAX} tokens, as many as there may be; revoke some");
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
            }
            tokens.push(token.clone());
            Ok(())
        })?;
        Ok((token, secret))
    }

    /// Revokes the token with an id or a name, and gives it.
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
        // What a crash left behind.
        let _ = fs::remove_file(&new);
        let mut file = private_fs::create_file(&new, true).map_err(failed)?;
        let mut text = serde_json::to_vec_pretty(&Content { tokens })?;
        text.push(b'\n');
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        // Otherwise a token that was revoked may be back after a power failure.
        fs::rename(&new, &self.path).and_then(|()| private_fs::sync_directory(self.directory())).map_err(failed)
    }

    /// Refuses a file in which others could write tokens, or which they could replace by one with tokens that were revoked.
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

    fn wanted(name: &str) -> Wanted {
        Wanted { name: Some(name.into()), scopes: vec![Scope::Publish], ..Wanted::default() }
    }

    #[test]
    fn the_file_holds_no_secret_and_only_its_user_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(&folder.path().join("state"));
        assert_eq!(file.read().unwrap(), []);
        let (token, secret) = file.create(wanted("phone"), 1).unwrap();
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
    fn a_file_in_a_directory_that_others_may_write_is_not_trusted() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        let (token, _) = file.create(wanted("phone"), 1).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        // Where the sticky bit is set, others may neither remove nor replace what is ours.
        for (mode, trusted) in [(0o755, true), (0o775, false), (0o757, false), (0o1777, true), (0o700, true)] {
            let before = file.version();
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_ne!(file.version(), before, "{mode:o}");
            match file.read() {
                Ok(tokens) => assert!(trusted && tokens == [token.clone()], "{mode:o}"),
                Err(error) => assert!(!trusted && error.to_string().contains("chmod go-w"), "{mode:o}: {error}"),
            }
            assert_eq!(file.create(wanted(&format!("{mode:o}")), 1).is_ok(), trusted, "{mode:o}");
            if trusted {
                file.revoke(&format!("{mode:o}")).unwrap();
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_in_a_directory_of_another_user_is_not_trusted() {
        use std::os::unix::fs::{PermissionsExt as _, chown};
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can be two users");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        file.create(wanted("phone"), 1).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // Its owner could bring back a token that was revoked.
        chown(folder.path(), Some(65534), None).unwrap();
        let error = file.read().unwrap_err().to_string();
        assert!(error.contains("another user (uid 65534)"), "{error}");
        file.create(wanted("tablet"), 1).unwrap_err();
    }

    #[cfg(unix)]
    #[test]
    fn permission_and_a_time_that_was_set_back_make_another_version() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        file.create(wanted("phone"), 1).unwrap();
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
    fn nobody_is_waited_for_at_a_pipe_in_the_place_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        for name in ["tokens.json", "tokens.lock"] {
            let path = folder.path().join(name);
            let _ = fs::remove_file(&path);
            let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(made.success());
            if name == "tokens.json" {
                assert!(file.read().unwrap_err().to_string().contains("is no file"));
            }
            file.create(wanted("a"), 1).unwrap_err();
            fs::remove_file(path).unwrap();
        }
        file.create(wanted("a"), 1).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_linked_file_has_another_version_when_what_it_leads_to_changes() {
        let folder = tempfile::tempdir().unwrap();
        let real = TokenFile::in_directory(&folder.path().join("real"));
        real.create(wanted("a"), 1).unwrap();
        let linked = TokenFile::in_directory(folder.path());
        std::os::unix::fs::symlink(real.path(), linked.path()).unwrap();
        let before = linked.version();
        real.revoke("a").unwrap();
        assert_ne!(linked.version(), before);
    }

    #[test]
    fn tokens_are_revoked_by_name_and_by_id_and_forgotten_when_expired() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        let (a, _) = file.create(wanted("a"), 1).unwrap();
        let (b, _) = file.create(Wanted { expires: Some(10), ..wanted("b") }, 1).unwrap();
        assert_eq!(file.create(wanted("a"), 1).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(!b.is_expired(9) && b.is_expired(10) && !a.is_expired(u64::MAX));
        assert_eq!(file.revoke("a").unwrap(), a);
        assert_eq!(file.revoke("a").unwrap_err().kind(), io::ErrorKind::NotFound);
        let (c, _) = file.create(wanted("c"), 10).unwrap();
        assert_eq!(file.read().unwrap(), std::slice::from_ref(&c));
        assert_eq!(file.revoke(&c.id).unwrap(), c);
    }

    #[test]
    fn a_file_that_is_not_understood_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        file.create(wanted("a"), 1).unwrap();
        let broken = fs::read_to_string(file.path()).unwrap().replace("digest\": \"", "digest\": \"x");
        fs::write(file.path(), &broken).unwrap();
        assert_eq!(file.read().unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(file.create(wanted("b"), 1).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read_to_string(file.path()).unwrap(), broken);
    }

    #[test]
    fn changes_from_many_sides_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(folder.path());
        std::thread::scope(|scope| {
            for n in 0..16 {
                let file = &file;
                scope.spawn(move || file.create(wanted(&format!("t{n}")), 1).unwrap());
            }
        });
        assert_eq!(file.read().unwrap().len(), 16);
    }
}
