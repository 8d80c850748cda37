//! Tokens: what lets in who is not of the daemon's own user.
//!
//! A token is a secret that its holder sends as `Authorization: Bearer …`. It may publish, subscribe or administer, on all
//! topics or some, for ever or until a time. They stand in one file of the state directory, which `sse-busctl token`
//! writes and the daemon reads; of each secret only the SHA-256 digest is kept. The secrets hold 256 random bits, so
//! nothing slower than a digest is needed against guessing.

mod file;
mod version;

use std::{fmt, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub use self::{
    file::{TokenFile, Wanted},
    version::Version,
};
use crate::topic::Filter;

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
