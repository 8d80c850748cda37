//! The entries of `publishers` in a `[[topics]]` table.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::origin::Origin;

/// Callers that may publish to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Publisher {
    /// Processes of the daemon's own user, and the dashboard.
    User,
    /// Processes of the user with this ID.
    Uid(u32),
    /// Callers with the token of this name or ID.
    Token(String),
    /// Pages of this origin.
    Origin(Origin),
}

/// The text is not a [`Publisher`]. Contains the text.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{}` is not a publisher; write user, uid:1001, token:NAME or origin:http://localhost:3000",
    .0.escape_debug()
)]
pub(crate) struct InvalidPublisher(String);

impl FromStr for Publisher {
    type Err = InvalidPublisher;

    fn from_str(text: &str) -> Result<Publisher, InvalidPublisher> {
        let parsed = match text.split_once(':') {
            None if text == "user" => Some(Publisher::User),
            Some(("uid", uid)) => uid.parse().ok().map(Publisher::Uid),
            Some(("token", name)) if !name.is_empty() => Some(Publisher::Token(name.into())),
            Some(("origin", origin)) => Origin::parse(origin).map(Publisher::Origin),
            _ => None,
        };
        parsed.ok_or_else(|| InvalidPublisher(text.into()))
    }
}

impl fmt::Display for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Publisher::User => f.write_str("user"),
            Publisher::Uid(uid) => write!(f, "uid:{uid}"),
            Publisher::Token(name) => write!(f, "token:{name}"),
            Publisher::Origin(origin) => write!(f, "origin:{origin}"),
        }
    }
}

impl<'de> Deserialize<'de> for Publisher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Publisher, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Publisher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
