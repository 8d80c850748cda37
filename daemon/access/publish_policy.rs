//! Authorization to publish to a topic: first what the caller's token allows, then the `publishers` of the topic's `[[topics]]` table.

use std::fmt;

use sse_bus::{Topic, bus::Publication, protocol::Refused};

use super::{caller::Caller, grant::denied};
use crate::{
    config::{Publisher, TopicTable},
    origin::Origin,
};

/// Authorizes an event, and sets what the topic's table sets for it.
pub(crate) fn admit(
    caller: &Caller,
    mut publication: Publication,
    topics: &[TopicTable],
) -> Result<Publication, Refused> {
    if let Some(table) = check_publish(caller, &publication.topic, topics)? {
        publication.ttl = publication.ttl.or(table.ttl());
    }
    Ok(publication)
}

/// Refuses a topic to which a caller may not publish. Returns the topic's table.
pub(crate) fn check_publish<'a>(
    caller: &Caller,
    topic: &Topic,
    topics: &'a [TopicTable],
) -> Result<Option<&'a TopicTable>, Refused> {
    caller.grant.check_publish(topic)?;
    let Some(table) = topics.iter().find(|table| table.matches(topic)) else { return Ok(None) };
    if let Some(publishers) = table.publishers()
        && !publishers.iter().any(|publisher| includes(publisher, caller))
    {
        let allowed: Vec<_> = publishers.iter().map(|publisher| format!("`{publisher}`")).collect();
        let allowed = if allowed.is_empty() { "nobody".into() } else { allowed.join(", ") };
        return Err(denied(format!(
            "the topic `{}` takes events from {allowed} only, and this one is from `{}`; to change that, edit `publishers` in \
             the [[topics]] table for {}, {}",
            topic,
            AsPublisher(caller),
            table.filters(),
            table.place
        )));
    }
    Ok(Some(table))
}

/// Returns true if an entry of `publishers` includes a caller. A foreign page is not the user who opened it.
fn includes(publisher: &Publisher, caller: &Caller) -> bool {
    let origin = caller.foreign_origin();
    match publisher {
        Publisher::User => caller.is_own && origin.is_none(),
        Publisher::Uid(uid) => caller.uid == Some(*uid) && origin.is_none(),
        Publisher::Token(name) => {
            caller.grant.token().is_some_and(|token| token.id == *name || token.name.as_ref() == Some(name))
        }
        Publisher::Origin(allowed) => origin.is_some_and(|own| Origin::parse(own).as_ref() == Some(allowed)),
    }
}

/// A caller as an entry of `publishers` names it.
struct AsPublisher<'a>(&'a Caller);

impl fmt::Display for AsPublisher<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AsPublisher(caller) = self;
        match (caller.foreign_origin(), caller.grant.token(), caller.uid) {
            (Some(origin), ..) => write!(f, "origin:{origin}"),
            (None, Some(token), _) => write!(f, "token:{}", token.name.as_ref().unwrap_or(&token.id)),
            (None, None, Some(uid)) if !caller.is_own => write!(f, "uid:{uid}"),
            _ => f.write_str("user"),
        }
    }
}
