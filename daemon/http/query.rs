//! What a request for `/events` asks for: path, query and `Last-Event-ID` in, what the bus is asked out.
//!
//! Text alone, without a server, so that a fuzz target can be built of this file. Unknown [`parameters`](super::parameters)
//! are refused; of a parameter that may stand once the last counts. `topic` and `header` may be repeated.

use std::time::Duration;

use form_urlencoded::parse;
use sse_bus::{
    bus::{Format, Start, Subscription},
    limits::{HEADERS_MAX, HEARTBEAT_RANGE},
    protocol::{Ack, ErrorCode, Publish, Refused, Subscribe, sse::PositionForm},
};

use super::parameters::Operation;

/// Reads what a stream's request wants. An id in the header wins over one in the query, and both over `since`.
/// `position_form` is the one that fits the client; `complete` fills in what the request leaves open.
pub(super) fn subscription(
    filter: Option<String>,
    query: &str,
    last_event_id: Option<&[u8]>,
    mut position_form: PositionForm,
    peer: String,
    complete: impl FnOnce(&mut Subscribe) -> Result<(), Refused>,
) -> Result<Subscription, Refused> {
    Operation::Stream.check(query)?;
    let mut subscribe = Subscribe::new(filter);
    let (mut format, mut heartbeat) = (Format::SseData, None);
    let mut last_id = None;
    for (name, value) in parse(query.as_bytes()) {
        match &*name {
            "topic" => subscribe.filters.push(value.into_owned()),
            "client" => subscribe.client = Some(value.into_owned()),
            "since" => subscribe.since = Some(value.into_owned()),
            "slow" => {
                subscribe.slow =
                    value.parse().map_err(|_| bad_parameter("slow", "write one of gap, latest, disconnect"))?;
            }
            "past_only" => {
                subscribe.past_only = truth(&value).ok_or_else(|| bad_parameter("past_only", "write true or false"))?;
            }
            "heartbeat" => heartbeat = Some(interval(&value)?),
            "position" => {
                position_form = match &*value {
                    "event" => PositionForm::Event,
                    "id" => PositionForm::Id,
                    "none" => PositionForm::None,
                    _ => return Err(bad_parameter("position", "write one of event, id, none")),
                }
            }
            "format" if value == "data" => format = Format::SseData,
            "format" if value == "json" => format = Format::SseJson,
            "format" => return Err(bad_parameter("format", "write one of data, json")),
            "last_event_id" | "lastEventId" | "Last-Event-ID" => last_id = Some(value.into_owned()),
            _ => {}
        }
    }
    // Browsers write the id as UTF-8, which header values need not be.
    let header = last_event_id.map(|id| String::from_utf8_lossy(id).into_owned());
    complete(&mut subscribe)?;
    let mut subscription = Subscription::parse(&subscribe, format, peer)?;
    subscription.position_form = position_form;
    subscription.heartbeat = heartbeat.unwrap_or(subscription.heartbeat);
    if let Some(id) = [header, last_id].into_iter().flatten().find(|id| !id.is_empty()) {
        subscription.start = Start::After(id);
    }
    Ok(subscription)
}

/// Reads what a publish wants, but for the data: that is the body.
pub(super) fn publish(topic: String, query: &str) -> Result<Publish, Refused> {
    Operation::Publish.check(query)?;
    let mut publish = Publish::new(topic, "");
    for (name, value) in parse(query.as_bytes()) {
        match &*name {
            "type" => publish.event_type = Some(value.into_owned()).filter(|kind| !kind.is_empty()),
            "header" => {
                let (name, value) = value.split_once(':').ok_or_else(|| {
                    let message = "the parameter header cannot be used: write NAME:VALUE";
                    Refused::new(ErrorCode::HeadersInvalid, message)
                })?;
                // One more than allowed tells that there are too many.
                if publish.headers.len() <= HEADERS_MAX {
                    publish.headers.push((name.into(), value.into()));
                }
            }
            "to" => publish.to = Some(value.into_owned()),
            "retain" => publish.retain = truth(&value).ok_or_else(|| bad_parameter("retain", "write true or false"))?,
            "ttl" => {
                let ttl = humantime::parse_duration(&value)
                    .map_err(|_| bad_parameter("ttl", "write a duration such as 10m"))?;
                publish.ttl_ms = Some(ttl.as_millis().try_into().unwrap_or(u64::MAX));
            }
            "ack" => {
                publish.ack = match &*value {
                    "durable" => Ack::Durable,
                    // Over HTTP there is always an answer.
                    "" | "accepted" | "none" => publish.ack,
                    _ => return Err(bad_parameter("ack", "write accepted or durable")),
                }
            }
            _ => {}
        }
    }
    Ok(publish)
}

/// The interval of heartbeats.
fn interval(text: &str) -> Result<Duration, Refused> {
    let given = humantime::parse_duration(text).ok();
    given.filter(|given| given.subsec_nanos() == 0 && HEARTBEAT_RANGE.contains(given)).ok_or_else(|| {
        let (least, most) = (HEARTBEAT_RANGE.start().as_secs(), HEARTBEAT_RANGE.end().as_secs());
        bad_parameter("heartbeat", &format!("write whole seconds from {least}s to {most}s, such as 4s"))
    })
}

fn bad_parameter(name: &str, why: &str) -> Refused {
    Refused::new(ErrorCode::RequestInvalid, format!("the parameter {name} cannot be used: {why}"))
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "" | "1" | "true" | "yes" => Some(true),
        "0" | "false" | "no" => Some(false),
        _ => None,
    }
}
