//! Reads the path and query of requests for `/events`.
//!
//! It works on text alone, without a server, so that a fuzz target can be built from this file. Unknown
//! [parameters](super::parameters) are refused. If a parameter that may appear once is repeated, the last one counts; `topic`
//! and `header` may be repeated.

use std::time::{Duration, UNIX_EPOCH};

use sse_bus::{
    bus::{Format, Start, Subscription},
    limits::{HEADERS_MAX, HEARTBEAT_RANGE},
    protocol::{Ack, ErrorCode, Publish, Refused, ReplyTo, RequestMessage, Respond, Subscribe, sse::PositionForm},
    time::whole_millis,
};

use super::parameters::{
    KickParameter, PublishParameter, ReplyParameter, RequestParameter, RespondParameter, StreamParameter, read,
};

/// A request for a stream.
pub(super) struct StreamRequest {
    pub(super) subscribe: Subscribe,
    pub(super) format: Format,
    pub(super) options: StreamOptions,
}

/// What a request over HTTP adds to a subscription.
#[derive(Default)]
pub(super) struct StreamOptions {
    heartbeat: Option<Duration>,
    position_form: Option<PositionForm>,
    /// The position after which the stream begins. It may be empty.
    last_event_id: Option<String>,
}

impl StreamOptions {
    /// Sets the options of a subscription. An ID in the header `Last-Event-ID` overrides the one in the query, and both
    /// override `since`. `position_form` is the one that fits the client.
    pub(super) fn apply(self, header: Option<&[u8]>, position_form: PositionForm, subscription: &mut Subscription) {
        subscription.position_form = self.position_form.unwrap_or(position_form);
        subscription.heartbeat = self.heartbeat.unwrap_or(subscription.heartbeat);
        // Browsers write the ID as UTF-8, which header values need not be.
        let header = header.map(|id| String::from_utf8_lossy(id).into_owned());
        if let Some(id) = [header, self.last_event_id].into_iter().flatten().find(|id| !id.is_empty()) {
            subscription.start = Start::After(id);
        }
    }
}

/// Reads a request for a stream.
pub(super) fn stream(filter: Option<String>, query: &str) -> Result<StreamRequest, Refused> {
    let mut subscribe = Subscribe::new(filter);
    let (mut format, mut options) = (Format::SseData, StreamOptions::default());
    for (parameter, value) in read(query)? {
        match parameter {
            StreamParameter::Topic => subscribe.filters.push(value.into_owned()),
            StreamParameter::Client => subscribe.client = Some(value.into_owned()),
            StreamParameter::Since => subscribe.since = Some(value.into_owned()),
            StreamParameter::Slow => {
                subscribe.slow =
                    value.parse().map_err(|_| bad_parameter("slow", "write one of gap, latest, disconnect"))?;
            }
            StreamParameter::PastOnly => {
                subscribe.past_only = truth(&value).ok_or_else(|| bad_parameter("past_only", "write true or false"))?;
            }
            StreamParameter::Heartbeat => options.heartbeat = Some(interval(&value)?),
            StreamParameter::Position => {
                options.position_form = Some(match &*value {
                    "event" => PositionForm::Event,
                    "id" => PositionForm::Id,
                    "none" => PositionForm::None,
                    _ => return Err(bad_parameter("position", "write one of event, id, none")),
                });
            }
            StreamParameter::Format => {
                format = match &*value {
                    "data" => Format::SseData,
                    "json" => Format::SseJson,
                    _ => return Err(bad_parameter("format", "write one of data, json")),
                }
            }
            StreamParameter::LastEventId => options.last_event_id = Some(value.into_owned()),
            // The ticket has authenticated the request already.
            StreamParameter::Ticket => {}
        }
    }
    Ok(StreamRequest { subscribe, format, options })
}

/// Reads a request to publish. The data is its body.
pub(super) fn publish(topic: String, query: &str) -> Result<Publish, Refused> {
    let mut publish = Publish::new(topic, "");
    for (parameter, value) in read(query)? {
        match parameter {
            PublishParameter::Type => publish.event_type = Some(value.into_owned()).filter(|kind| !kind.is_empty()),
            PublishParameter::Header => push_header(&mut publish.headers, &value)?,
            PublishParameter::To => publish.to = Some(value.into_owned()),
            PublishParameter::Retain => {
                publish.retain = truth(&value).ok_or_else(|| bad_parameter("retain", "write true or false"))?;
            }
            PublishParameter::Ttl => {
                let ttl = humantime::parse_duration(&value)
                    .map_err(|_| bad_parameter("ttl", "write a duration such as 10m"))?;
                publish.ttl_ms = Some(whole_millis(ttl));
            }
            PublishParameter::DedupId => publish.dedup_id = Some(value.into_owned()),
            PublishParameter::In => {
                let time = humantime::parse_duration(&value)
                    .map_err(|_| bad_parameter("in", "write a duration such as 10m"))?;
                publish.in_ms = Some(whole_millis(time));
            }
            PublishParameter::At => publish.at = Some(time(&value)?),
            PublishParameter::ScheduleId => publish.schedule_id = Some(value.into_owned()),
            PublishParameter::Ack => {
                publish.ack = match &*value {
                    "durable" => Ack::Durable,
                    // An HTTP request is always answered.
                    "" | "accepted" | "none" => publish.ack,
                    _ => return Err(bad_parameter("ack", "write accepted or durable")),
                }
            }
        }
    }
    Ok(publish)
}

/// Reads a request to kick a client: how long it is kept out.
pub(super) fn kick(query: &str) -> Result<Option<Duration>, Refused> {
    let mut keep_out = None;
    for (KickParameter::For, time) in read(query)? {
        let time = humantime::parse_duration(&time);
        keep_out = Some(time.map_err(|_| bad_parameter("for", "write a duration such as 10m"))?);
    }
    Ok(keep_out)
}

/// Whether a response contains one reply, or a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collect {
    One,
    /// The request says how many replies it wants.
    Several,
}

/// Reads a request for a responder. The data is its body.
pub(super) fn request(topic: String, query: &str) -> Result<(RequestMessage, Collect), Refused> {
    let (mut request, mut collect) = (RequestMessage::new(topic, ""), Collect::One);
    for (parameter, value) in read(query)? {
        match parameter {
            RequestParameter::Type => request.event_type = Some(value.into_owned()).filter(|kind| !kind.is_empty()),
            RequestParameter::Header => push_header(&mut request.headers, &value)?,
            RequestParameter::Timeout => {
                let timeout = humantime::parse_duration(&value)
                    .map_err(|_| bad_parameter("timeout", "write a duration such as 5s"))?;
                request.timeout_ms = Some(whole_millis(timeout));
            }
            RequestParameter::Replies => {
                request.replies = Some(whole_number("replies", &value)?);
                collect = Collect::Several;
            }
        }
    }
    Ok((request, collect))
}

/// Reads a request for a stream of requests, with the interval of heartbeats.
pub(super) fn respond(filter: Option<String>, query: &str) -> Result<(Respond, Option<Duration>), Refused> {
    let (mut respond, mut heartbeat) = (Respond::new(filter), None);
    for (parameter, value) in read(query)? {
        match parameter {
            RespondParameter::Topic => respond.filters.push(value.into_owned()),
            RespondParameter::Client => respond.client = Some(value.into_owned()),
            RespondParameter::MaxInFlight => respond.max_in_flight = Some(whole_number("max_in_flight", &value)?),
            RespondParameter::Heartbeat => heartbeat = Some(interval(&value)?),
        }
    }
    Ok((respond, heartbeat))
}

/// Reads a reply. The data is its body.
pub(super) fn reply(address: String, query: &str) -> Result<ReplyTo, Refused> {
    let mut reply = ReplyTo::new(address, "");
    for (parameter, value) in read(query)? {
        match parameter {
            ReplyParameter::Header => push_header(&mut reply.headers, &value)?,
            ReplyParameter::Error => reply.error = Some(value.into_owned()),
        }
    }
    Ok(reply)
}

/// Appends a header that a parameter contains.
fn push_header(headers: &mut Vec<(String, String)>, text: &str) -> Result<(), Refused> {
    let (name, value) = text.split_once(':').ok_or_else(|| {
        let message = "the parameter header cannot be used: write NAME:VALUE";
        Refused::new(ErrorCode::HeadersInvalid, message)
    })?;
    // One more than allowed is enough to refuse the request.
    if headers.len() <= HEADERS_MAX {
        headers.push((name.into(), value.into()));
    }
    Ok(())
}

fn whole_number(name: &str, text: &str) -> Result<u64, Refused> {
    text.parse().map_err(|_| bad_parameter(name, "write a whole number"))
}

/// Parses a time: milliseconds since 1970, or RFC 3339 in UTC such as `2026-12-01T09:00:00Z`.
fn time(text: &str) -> Result<u64, Refused> {
    let parsed = text.parse().ok().or_else(|| {
        let time = humantime::parse_rfc3339(text).ok()?;
        time.duration_since(UNIX_EPOCH).ok().map(whole_millis)
    });
    parsed.ok_or_else(|| bad_parameter("at", "write a time such as 2026-12-01T09:00:00Z, or milliseconds since 1970"))
}

/// Parses the interval of heartbeats.
pub(super) fn interval(text: &str) -> Result<Duration, Refused> {
    let given = humantime::parse_duration(text).ok();
    given.filter(|given| given.subsec_nanos() == 0 && HEARTBEAT_RANGE.contains(given)).ok_or_else(|| {
        let (least, most) = (HEARTBEAT_RANGE.start().as_secs(), HEARTBEAT_RANGE.end().as_secs());
        bad_parameter("heartbeat", &format!("write whole seconds from {least}s to {most}s, such as 4s"))
    })
}

pub(super) fn bad_parameter(name: &str, why: &str) -> Refused {
    Refused::new(ErrorCode::RequestInvalid, format!("the parameter {name} cannot be used: {why}"))
}

pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "" | "1" | "true" | "yes" => Some(true),
        "0" | "false" | "no" => Some(false),
        _ => None,
    }
}
