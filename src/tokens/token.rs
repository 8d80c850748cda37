//! A token without its secret: what it allows, and until when.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::secret::Digest;
use crate::topic::Filter;

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
    /// Returns the scope as it is written.
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
    /// The id, by which a token is listed and revoked. Not a secret.
    pub id: String,
    /// The name, if it has one.
    pub name: Option<String>,
    /// The allowed operations.
    pub scopes: Vec<Scope>,
    /// The allowed topics; all if empty.
    pub topics: Vec<Filter>,
    /// When it was created, in milliseconds since 1970 (UTC).
    pub created: u64,
    /// When it expires, in milliseconds since 1970 (UTC).
    pub expires: Option<u64>,
    pub(super) digest: Digest,
}

impl Token {
    /// Returns true if it has expired. `now` is in milliseconds since 1970 (UTC).
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Returns true if this is the digest of its secret. Takes constant time.
    pub fn is(&self, presented: &Digest) -> bool {
        self.digest.equals(presented)
    }

    /// Returns true if it allows an operation.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Returns true if it allows all topics that a filter matches.
    pub fn covers(&self, filter: &Filter) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|allowed| allowed.covers(filter))
    }
}
