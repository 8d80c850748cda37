//! Who may publish to a topic: first what a token allows, then what the configuration says of the topic.
//!
//! This is the one place that asks, before the bus is given an event, whichever way it came.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sse_bus::{bus::Publication, protocol::Refused};

use super::{Grant, denied};
use crate::{config::Config, origin::Origin};

/// Whom a topic takes events from: an entry of `publishers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Processes of the daemon's own user, and its own page.
    User,
    /// Processes of the user with this number.
    Uid(u32),
    /// Who holds the token with this name or id.
    Token(String),
    /// Pages of this origin.
    Origin(Origin),
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Allowed, String> {
        let parsed = match text.split_once(':') {
            None if text == "user" => Some(Allowed::User),
            Some(("uid", uid)) => uid.parse().ok().map(Allowed::Uid),
            Some(("token", name)) if !name.is_empty() => Some(Allowed::Token(name.into())),
            Some(("origin", origin)) => Origin::parse(origin).map(Allowed::Origin),
            _ => None,
        };
        parsed.ok_or_else(|| {
            let shown = text.escape_debug();
            format!("`{shown}` names nobody; write user, uid:1001, token:NAME or origin:http://localhost:3000")
        })
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Allowed::User => f.write_str("user"),
            Allowed::Uid(uid) => write!(f, "uid:{uid}"),
            Allowed::Token(name) => write!(f, "token:{name}"),
            Allowed::Origin(origin) => write!(f, "origin:{origin}"),
        }
    }
}

impl<'de> Deserialize<'de> for Allowed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Allowed, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Allowed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publisher<'a> {
    pub(crate) grant: &'a Grant,
    /// The user whose process it is, where the operating system says so.
    pub(crate) uid: Option<u32>,
    /// It is of the daemon's own user.
    pub(crate) is_own: bool,
    /// The origin of the page, if it is another's than the daemon's own. A page is not its user.
    pub(crate) origin: Option<&'a str>,
}

impl Publisher<'_> {
    /// Lets an event through to the bus, with what the configuration adds to it, or refuses it.
    pub(crate) fn admit(&self, mut publication: Publication, config: &Config) -> Result<Publication, Refused> {
        self.grant.publish(&publication.topic)?;
        let Some(table) = config.topics.iter().find(|table| table.matches(&publication.topic)) else {
            return Ok(publication);
        };
        if let Some(publishers) = table.publishers()
            && !publishers.iter().any(|allowed| self.is(allowed))
        {
            let allowed: Vec<_> = publishers.iter().map(|allowed| format!("`{allowed}`")).collect();
            let allowed = if allowed.is_empty() { "nobody".into() } else { allowed.join(", ") };
            return Err(denied(format!(
                "the topic `{}` takes events from {allowed} only, and this comes from `{self}`: so says `publishers` in the \
                 [[topics]] table for {}, {}",
                publication.topic,
                table.filters(),
                table.place
            )));
        }
        publication.ttl = publication.ttl.or(table.ttl());
        Ok(publication)
    }

    fn is(&self, allowed: &Allowed) -> bool {
        match allowed {
            Allowed::User => self.is_own && self.origin.is_none(),
            Allowed::Uid(uid) => self.uid == Some(*uid) && self.origin.is_none(),
            Allowed::Token(name) => {
                self.grant.token().is_some_and(|token| token.id == *name || token.name.as_ref() == Some(name))
            }
            Allowed::Origin(origin) => self.origin.is_some_and(|own| Origin::parse(own).as_ref() == Some(origin)),
        }
    }
}

/// Who it is, as `publishers` would name it.
impl fmt::Display for Publisher<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.origin, self.grant.token(), self.uid) {
            (Some(origin), ..) => write!(f, "origin:{origin}"),
            (None, Some(token), _) => write!(f, "token:{}", token.name.as_ref().unwrap_or(&token.id)),
            (None, None, Some(uid)) if !self.is_own => write!(f, "uid:{uid}"),
            _ => f.write_str("user"),
        }
    }
}
