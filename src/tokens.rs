//! Tokens: what lets in who is not of the daemon's own user.
//!
//! A token is a secret that its holder sends as `Authorization: Bearer …`. It may publish, subscribe or administer, on all
//! topics or some, for ever or until a time. They stand in one file of the state directory, which `sse-busctl token`
//! writes and the daemon reads; of each secret only the SHA-256 digest is kept. The secrets hold 256 random bits, so
//! nothing slower than a digest is needed against guessing.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{limits::TOKENS_MAX, topic::Filter};

/// What a token begins with, so that people and scanners know one when they see it.
pub const PREFIX: &str = "ssebus_";

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Publish events.
    Publish,
    /// Receive events.
    Subscribe,
    /// See topics, clients, status and metrics; disconnect clients.
    Admin,
}

impl Scope {
    /// The scope as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Publish => "publish",
            Scope::Subscribe => "subscribe",
            Scope::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// By which it is listed and revoked; no secret.
    pub id: String,
    /// What it was called.
    pub name: Option<String>,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// The topics that it may publish and subscribe to; all if empty.
    pub topics: Vec<Filter>,
    /// When it was made, in milliseconds since 1970 (UTC).
    pub created: u64,
    /// When it ends, in milliseconds since 1970 (UTC).
    pub expires: Option<u64>,
    digest: Digest,
}

impl Token {
    /// Whether its time is over. `now` is in milliseconds since 1970 (UTC).
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether this is its secret, in a time that does not tell how much of it was right.
    pub fn is(&self, presented: &Digest) -> bool {
        self.digest.0.ct_eq(&presented.0).into()
    }

    /// Whether it allows something.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether it may have everything that a filter lets through.
    pub fn covers(&self, filter: &Filter) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|allowed| allowed.covers(filter))
    }
}

/// The digest of a secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of what somebody presents as a secret.
    pub fn of(secret: &str) -> Digest {
        Digest(Sha256::digest(secret).into())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut digest = [0; 32];
        let digits = text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
        let written =
            digest.iter_mut().zip(digits).filter_map(|(byte, digit)| digit.map(|digit| *byte = digit)).count();
        match written {
            32 if text.len() == 64 => Ok(Digest(digest)),
            _ => Err(serde::de::Error::custom("a digest is 64 hexadecimal digits")),
        }
    }
}

/// A secret, shown once and kept nowhere. Its `Debug` does not show it.
pub struct Secret(String);

impl Secret {
    /// A secret of 256 random bits, with a text before it that says what it is.
    ///
    /// # Errors
    ///
    /// The system has no randomness.
    pub fn random(prefix: &str) -> io::Result<Secret> {
        Ok(Secret(format!("{prefix}{}", hex(&random::<32>()?))))
    }

    /// The secret, to be shown or compared.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A text of 32 random bits behind another, to tell things apart; no secret.
///
/// # Errors
///
/// The system has no randomness.
pub fn random_name(prefix: &str) -> io::Result<String> {
    Ok(format!("{prefix}{}", hex(&random::<4>()?)))
}

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

/// See [`TokenFile::version`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(Option<(u64, u64, SystemTime)>);

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

    /// The version of the file: another whenever it has changed.
    pub fn version(&self) -> Version {
        let Ok(data) = fs::symlink_metadata(&self.path) else { return Version(None) };
        // Each change makes a file of its own.
        #[cfg(unix)]
        let which = std::os::unix::fs::MetadataExt::ino(&data);
        #[cfg(not(unix))]
        let which = 0;
        Version(Some((which, data.len(), data.modified().unwrap_or(SystemTime::UNIX_EPOCH))))
    }

    /// The tokens, expired ones included. No file is no tokens.
    ///
    /// # Errors
    ///
    /// The file cannot be read or understood, or others may write it. The message says which, and what to do.
    pub fn read(&self) -> io::Result<Vec<Token>> {
        let failed = |e: io::Error| self.error(e.kind(), &e.to_string());
        let text = match File::open(&self.path) {
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
        let directory = self.path.parent().unwrap_or(Path::new("."));
        make_private(directory).map_err(failed)?;
        let lock = private_file(&self.path.with_extension("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut tokens = self.read()?;
        change(&mut tokens)?;
        let new = self.path.with_extension("new");
        // What a crash left behind.
        let _ = fs::remove_file(&new);
        let mut file = private_file(&new).map_err(failed)?;
        let mut text = serde_json::to_vec_pretty(&Content { tokens })?;
        text.push(b'\n');
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&new, &self.path).map_err(failed)
    }

    /// Whoever could write the file could make tokens.
    #[cfg(unix)]
    fn check(&self, file: &File) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt as _;
        let data = file.metadata()?;
        let denied = |why: &str| Err(self.error(io::ErrorKind::PermissionDenied, why));
        match data.mode() {
            _ if data.uid() != rustix::process::geteuid().as_raw() => denied("it belongs to another user; remove it"),
            mode if mode & 0o077 != 0 => {
                denied("others may read or write it; `chmod 600` it if its tokens can be trusted")
            }
            _ => Ok(()),
        }
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the user's own directory is private on Windows")]
    fn check(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn error(&self, kind: io::ErrorKind, why: &str) -> io::Error {
        io::Error::new(kind, format!("the tokens in {}: {why}", self.path.display()))
    }
}

/// Makes a directory that only its user may look into, unless it is there.
fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)
}

/// Opens a file for writing that only its user may touch, made if it is not there.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create(true).truncate(false).open(path)
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(format!("the system has no randomness: {e}")))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
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
        assert_eq!(file.read().unwrap(), [token.clone()]);
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
        assert_eq!(file.read().unwrap(), [c.clone()]);
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
