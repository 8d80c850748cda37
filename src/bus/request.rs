//! Publications and subscriptions, which are valid by construction: the bus does not check them again.

use std::{fmt, time::Duration};

use super::{
    clients::{ClientName, Description},
    dedup::{DedupId, DedupKeys},
    format::Format,
    requests::Responder,
};
use crate::{
    event::{Event, EventId, EventType, check_data},
    headers::Headers,
    limits::{HEARTBEAT, Limits},
    protocol::{Ack, ErrorCode, Publish, Refused, Sequence, Slow, Subscribe, sse::PositionForm},
    topic::{Filter, FilterSet, Topic},
};

/// An event to publish.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Publication {
    /// The topic; not a topic of the bus itself.
    pub topic: Topic,
    /// The type of the event, by which a browser dispatches it.
    pub event_type: Option<EventType>,
    /// The headers.
    pub headers: Headers,
    /// The payload.
    pub data: String,
    /// The event becomes the retained event of its topic; empty data removes the retained event.
    pub retain: bool,
    /// How long the event is replayed and retained.
    pub ttl: Option<Duration>,
    /// For a unicast event, the id or name of its client.
    pub to: Option<String>,
    /// The publish is answered when the event is on disk; it is refused if history is in memory.
    pub durable: bool,
    /// The name of the publish, by which a repeat is recognized.
    pub dedup_id: Option<DedupId>,
    /// The number of the publish, by which a repeat is recognized.
    pub sequence: Option<Sequence>,
}

impl Publication {
    /// Returns a broadcast event with nothing but its data.
    pub fn new(topic: Topic, data: impl Into<String>) -> Publication {
        Publication {
            topic,
            event_type: None,
            headers: Headers::default(),
            data: data.into(),
            retain: false,
            ttl: None,
            to: None,
            durable: false,
            dedup_id: None,
            sequence: None,
        }
    }

    /// Returns the event with an id. `time` is in milliseconds since 1970.
    pub(super) fn into_event(self, id: EventId, time: u64) -> Event {
        let Publication { topic, event_type, headers, data, .. } = self;
        Event { id, topic, event_type, headers, data, time }
    }

    /// Returns what identifies the publish, to recognize its repeat.
    pub fn dedup_keys(&self) -> DedupKeys {
        DedupKeys::new(&self.topic, self.to.as_deref(), self.dedup_id.as_ref(), self.sequence)
    }

    /// Makes it the retained event of its topic.
    #[must_use]
    pub fn retained(self) -> Publication {
        Publication { retain: true, ..self }
    }

    /// Makes it a unicast event for the client with this id, or for all clients with this name.
    #[must_use]
    pub fn to_client(self, client: impl Into<String>) -> Publication {
        Publication { to: Some(client.into()), ..self }
    }

    /// Parses a request to publish. What it says about when to publish is for `When::parse`.
    pub fn parse(publish: Publish, limits: &Limits) -> Result<Publication, Refused> {
        let Publish { topic, data, event_type, headers, retain, ttl_ms, to, ack, dedup_id, sequence, .. } = publish;
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
        let ttl = ttl_ms.map(Duration::from_millis);
        let dedup_id = dedup_id.as_deref().map(DedupId::parse).transpose()?;
        if sequence.is_some_and(|sequence| sequence.number == 0) {
            return Err(Refused::new(ErrorCode::RequestInvalid, "the numbers of a publisher begin with 1"));
        }
        Ok(Publication { topic: parsed, event_type, headers, data, retain, ttl, to, durable, dedup_id, sequence })
    }
}

/// The position at which a subscription begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The retained events, then live.
    Retained,
    /// Live.
    Now,
    /// The newest event of each topic, then live.
    Latest,
    /// All of history, then live.
    All,
    /// The events of the last period, then live.
    Last(Duration),
    /// The events after this id, then live. An invalid or unknown id is reported as a gap.
    After(String),
}

impl Start {
    /// Parses `now`, `latest`, `all`, an event id, or a duration such as `10m`.
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
    /// The filters of the events.
    pub filters: FilterSet,
    /// The format of the events.
    pub format: Format,
    /// The position at which it begins.
    pub start: Start,
    /// The policy when it falls behind.
    pub slow: Slow,
    /// It ends at the end of history, where live events would begin.
    pub past_only: bool,
    /// The form in which a stream sends its position.
    pub position_form: PositionForm,
    /// The interval of heartbeats in a stream for browsers: 1 to 60 whole seconds, see
    /// [`HEARTBEAT_RANGE`](crate::limits::HEARTBEAT_RANGE).
    pub heartbeat: Duration,
    /// Filters that the topics of unicast events must match, in place of `filters`; any topic if empty.
    pub allowed: Box<[Filter]>,
    /// It receives the requests for a responder with these settings, besides the events that its filters match.
    pub responder: Option<Responder>,
    /// Describes the subscriber.
    pub description: Description,
}

impl Subscription {
    /// Returns a subscription to the retained events and then the live events of some topics, with default options.
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
            responder: None,
            description: Description::default(),
        }
    }

    /// Parses a request to subscribe.
    pub fn parse(subscribe: &Subscribe, format: Format, peer: String) -> Result<Subscription, Refused> {
        let Subscribe { filters, since, slow, client, past_only } = subscribe;
        let refuse = |e| Refused::new(ErrorCode::FilterInvalid, format!("a filter cannot be used: {e}"));
        // The error names the invalid filter, not the whole list.
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

/// Returns an error such as "the topic `a//b` cannot be used: …", with the text shortened and escaped.
pub(super) fn invalid(code: ErrorCode, what: &str, text: &str, why: &dyn fmt::Display) -> Refused {
    let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    let more = if text.chars().nth(60).is_some() { "…" } else { "" };
    Refused::new(code, format!("the {what} `{shown}{more}` cannot be used: {why}"))
}
