//! The topics of events that are sent to a consumer by its name, see [mailboxes](super::mailbox).

use super::name::ConsumerName;
use crate::{
    bus::Publication,
    protocol::{ErrorCode, Refused},
    topic::{FilterSet, Topic},
};

/// The first level of the topics of events for consumers.
const MAILBOX: &str = "$mailbox/";

/// Returns true if a topic is that of events for a consumer.
pub(crate) fn is_mailbox(topic: &Topic) -> bool {
    topic.as_str().starts_with(MAILBOX)
}

/// Returns the topic with which an event was sent to a consumer, or the topic of any other event.
pub fn sent_topic(topic: &str) -> &str {
    let sent = topic.strip_prefix(MAILBOX).and_then(|rest| rest.split_once('/'));
    sent.map_or(topic, |(_, sent)| sent)
}

/// Returns the filters of a consumer together with that of the events that are sent to it.
pub(super) fn with_mailbox(filters: &FilterSet, name: &ConsumerName) -> FilterSet {
    filters.with(&format!("{MAILBOX}{name}/**"))
}

/// Changes a publication for a consumer into one with the topic of its mailbox.
///
/// # Errors
///
/// The topic is too long together with the name.
pub fn put_in_mailbox(publication: Publication) -> Result<Publication, Refused> {
    let Some(name) = publication.to else { return Ok(publication) };
    let topic = Topic::parse(&format!("{MAILBOX}{name}/{}", publication.topic)).map_err(|e| {
        let message = format!("the topic `{MAILBOX}{name}/{}` cannot be used: {e}", publication.topic);
        Refused::new(ErrorCode::TopicInvalid, message)
    })?;
    Ok(Publication { topic, to: Some(name), ..publication })
}
