//! The checked forms of what is asked of the bus. Past here nothing is checked again.

use std::{fmt, time::Duration};

use super::{
    clients::{ClientName, Description},
    format::Format,
};
use crate::{
    event::{Event, EventId, EventType, check_data},
    headers::Headers,
    limits::{HEARTBEAT, Limits},
    protocol::{Ack, ErrorCode, Publish, Refused, Slow, Subscribe, sse::PositionForm},
    topic::{Filter, FilterSet, Topic},
};

/// An event to publish.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Publication {
    /// The topic; not one of the bus's own.
    pub topic: Topic,
    /// What a browser dispatches it as.
    pub event_type: Option<EventType>,
    /// Named texts beside the data.
    pub headers: Headers,
    /// The payload.
    pub data: String,
    /// Keep it as the topic's retained event; empty data removes the one that is kept.
    pub retain: bool,
    /// How long it is replayed and retained.
    pub ttl: Option<Duration>,
    /// The one client that it goes to, by id or name.
    pub to: Option<String>,
    /// It is to be on disk before it is answered; where history is in memory it is refused.
    pub durable: bool,
}

impl Publication {
    /// An event of a topic, broadcast, with nothing but its data.
    pub fn new(topic: Topic, data: impl Into<String>) -> Publication {
        let (data, headers) = (data.into(), Headers::default());
        Publication { topic, event_type: None, headers, data, retain: false, ttl: None, to: None, durable: false }
    }

    /// The event under an id, at a time in milliseconds since 1970.
    pub(super) fn into_event(self, id: EventId, time: u64) -> Event {
        let Publication { topic, event_type, headers, data, .. } = self;
        Event { id, topic, event_type, headers, data, time }
    }

    /// Keeps it as the topic's retained event.
    #[must_use]
    pub fn retained(self) -> Publication {
        Publication { retain: true, ..self }
    }

    /// Sends it to one client only, by id or name.
    #[must_use]
    pub fn to_client(self, client: impl Into<String>) -> Publication {
        Publication { to: Some(client.into()), ..self }
    }

    /// Checks an event from outside.
    pub fn parse(publish: Publish, limits: &Limits) -> Result<Publication, Refused> {
        let Publish { topic, data, event_type, headers, retain, ttl_ms, to, ack } = publish;
        let parsed = Topic::parse(&topic).map_err(|e| invalid(ErrorCode::TopicInvalid, "topic", &topic, &e))?;
        if parsed.is_system() {
            let what = "topics that begin with `$` belong to the bus; choose another name";
            return Err(invalid(ErrorCode::TopicInvalid, "topic", &topic, &what));
        }
        let event_type = event_type
            .map(|name| EventType::parse(&name).map_err(|e| invalid(ErrorCode::TypeInvalid, "type", &name, &e)))
            .transpose()?;
        let headers = Headers::parse(headers).map_err(|e| Refused::new(ErrorCode::HeadersInvalid, e.to_string()))?;
        if data.0.len() > limits.event_bytes {
            let (have, most) = (data.0.len(), limits.event_bytes);
            let message = format!(
                "the data has {have} bytes, more than `event_bytes` = {most}; publish less, or a reference to it"
            );
            return Err(Refused::new(ErrorCode::LimitEvent, message));
        }
        let data = check_data(data.0).map_err(|e| Refused::new(ErrorCode::DataInvalid, format!("the data: {e}")))?;
        if to.is_some() && retain {
            let message = "an event for one client cannot be retained; leave out `to` or `retain`";
            return Err(Refused::new(ErrorCode::RequestInvalid, message));
        }
        let durable = ack == Ack::Durable;
        if to.is_some() && durable {
            let message =
                "an event for one client is in no history and cannot be durable; leave out `to`, or use ack `accepted`";
            return Err(Refused::new(ErrorCode::RequestInvalid, message));
        }
        let ttl = ttl_ms.map(Duration::from_millis);
        Ok(Publication { topic: parsed, event_type, headers, data, retain, ttl, to, durable })
    }
}

/// Where a subscription begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the retained events, then live.
    Retained,
    /// Live.
    Now,
    /// With the newest event of each topic, then live.
    Latest,
    /// With all that history has, then live.
    All,
    /// With what came in the last while, then live.
    Last(Duration),
    /// After the event with this id, whatever it is.
    After(String),
}

impl Start {
    /// Reads `now`, `latest`, `all`, an event id, or a duration such as `10m`.
    pub fn parse(text: &str) -> Result<Start, Refused> {
        match text {
            "now" => Ok(Start::Now),
            "latest" => Ok(Start::Latest),
            "all" => Ok(Start::All),
            _ if text.parse::<EventId>().is_ok() => Ok(Start::After(text.into())),
            _ => humantime::parse_duration(text).map(Start::Last).map_err(|_| {
                let what = "it is none of `now`, `latest`, `all`, an event id, a duration such as `10m`";
                invalid(ErrorCode::SinceInvalid, "since", text, &what)
            }),
        }
    }
}

/// A subscription.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// What it wants.
    pub filters: FilterSet,
    /// How it wants it.
    pub format: Format,
    /// Where it begins.
    pub start: Start,
    /// What happens when it falls behind.
    pub slow: Slow,
    /// Whether it ends when the past is told.
    pub past_only: bool,
    /// The form in which a stream sends its position.
    pub position_form: PositionForm,
    /// Between two heartbeats of a stream for browsers: 1 to 60 whole seconds, see
    /// [`HEARTBEAT_RANGE`](crate::limits::HEARTBEAT_RANGE).
    pub heartbeat: Duration,
    /// Of which topics events that are sent to it alone must be; of any if empty. They pass no filters.
    pub allowed: Box<[Filter]>,
    /// Who subscribes.
    pub description: Description,
}

impl Subscription {
    /// The topics that match some filters: their retained events, then live, with the usual bounds.
    pub fn new(filters: FilterSet, format: Format) -> Subscription {
        Subscription {
            filters,
            format,
            start: Start::Retained,
            slow: Slow::Gap,
            past_only: false,
            position_form: PositionForm::Id,
            heartbeat: HEARTBEAT,
            allowed: [].into(),
            description: Description::default(),
        }
    }

    /// Checks a subscription from outside.
    pub fn parse(subscribe: &Subscribe, format: Format, peer: String) -> Result<Subscription, Refused> {
        let Subscribe { filters, since, slow, client, past_only } = subscribe;
        let refuse = |e| Refused::new(ErrorCode::FilterInvalid, format!("a filter cannot be used: {e}"));
        // Name the filter that is wrong, not the whole list.
        for filter in filters {
            Filter::parse(filter).map_err(|e| invalid(ErrorCode::FilterInvalid, "filter", filter, &e))?;
        }
        let filters = FilterSet::parse(filters).map_err(refuse)?;
        let name = client.as_deref().map(ClientName::parse).transpose()?;
        Ok(Subscription {
            start: since.as_deref().map_or(Ok(Start::Retained), Start::parse)?,
            slow: *slow,
            past_only: *past_only,
            description: Description { name, peer, origin: None },
            ..Subscription::new(filters, format)
        })
    }
}

/// "the topic `a//b` cannot be used: …", with the text shortened and made printable.
fn invalid(code: ErrorCode, what: &str, text: &str, why: &dyn fmt::Display) -> Refused {
    let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    let more = if text.chars().nth(60).is_some() { "…" } else { "" };
    Refused::new(code, format!("the {what} `{shown}{more}` cannot be used: {why}"))
}
