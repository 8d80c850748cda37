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
    /// See topics, clients, status and metrics; disconnect clients; manage consumers.
    Admin,
    /// Work for the consumers of the allowed topics, and manage them.
    Work,
}

impl Scope {
    /// Returns the scope as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Publish => "publish",
            Scope::Subscribe => "subscribe",
            Scope::Admin => "admin",
            Scope::Work => "work",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_allows_its_scopes_and_covers_its_topics() {
        let token = |topics: &[&str]| Token {
            id: "t1".into(),
            name: None,
            scopes: vec![Scope::Publish, Scope::Admin],
            topics: topics.iter().map(|filter| Filter::parse(filter).unwrap()).collect(),
            created: 0,
            expires: None,
            digest: Digest::of("secret"),
        };
        let covers = |topics: &[&str], filter| token(topics).covers(&Filter::parse(filter).unwrap());
        assert_eq!(
            [Scope::Publish, Scope::Subscribe, Scope::Admin, Scope::Work].map(|scope| token(&[]).allows(scope)),
            [true, false, true, false]
        );
        assert_eq!([covers(&[], "a/**"), covers(&["a/**"], "b")], [true, false]);
        assert_eq!(["a", "a/b", "b/c", "**"].map(|filter| covers(&["a/**", "b/c"], filter)), [true, true, true, false]);
        assert_eq!([token(&[]).is(&Digest::of("secret")), token(&[]).is(&Digest::of("other"))], [true, false]);
    }

    #[test]
    fn a_scope_has_the_same_text_in_messages_and_in_the_file() {
        for scope in [Scope::Publish, Scope::Subscribe, Scope::Admin, Scope::Work] {
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
            assert_eq!(scope.to_string(), scope.as_str());
        }
    }
}
