//! Reads the queries of requests about consumers, as [`query`](super::query) does for `/events`.

use std::{borrow::Cow, ops::RangeInclusive, time::Duration};

use sse_bus::{
    EventId,
    limits::{FILTERS_MAX, NEXT_WAIT_MAX, TAKE_MAX},
    protocol::{Consume, ConsumerConfig, DeadSelection, OnFull, Refused},
};

use super::{
    parameters::{
        ConsumerParameter, DeadListParameter, DeadParameter, DeliveriesParameter, NextParameter, SeekParameter, read,
    },
    query::{bad_parameter, interval, truth},
};

/// Reads the settings of a consumer; None if there are none. `backoff` is a list of durations, such as `1s,10s`.
pub(super) fn create(query: &str) -> Result<Option<ConsumerConfig>, Refused> {
    let mut config = None;
    for (parameter, value) in read(query)? {
        let config = config.get_or_insert_with(ConsumerConfig::default);
        let value = value.into_owned();
        match parameter {
            // One more than allowed is enough to refuse the request.
            ConsumerParameter::Filter if config.filters.len() > FILTERS_MAX => {}
            ConsumerParameter::Filter => config.filters.push(value),
            ConsumerParameter::From => config.from = Some(value),
            ConsumerParameter::AckWait => config.ack_wait = Some(value),
            ConsumerParameter::MaxAttempts => {
                config.max_attempts =
                    Some(value.parse().map_err(|_| bad_parameter("max_attempts", "write a number such as 5"))?);
            }
            ConsumerParameter::Backoff => {
                let times = value.split(',').filter(|time| !time.is_empty());
                config.backoff = Some(times.map(|time| time.trim().to_owned()).collect());
            }
            ConsumerParameter::MaxInFlight => config.max_in_flight = Some(number("max_in_flight", &value)?),
            ConsumerParameter::OnFull => {
                let on_full = Some(OnFull::from(&*value)).filter(|on_full| *on_full != OnFull::Other);
                config.on_full = Some(on_full.ok_or_else(|| bad_parameter("on_full", "write refuse or drop"))?);
            }
            ConsumerParameter::InactiveAfter => config.inactive_after = Some(value),
        }
    }
    Ok(config)
}

/// Reads the position to which a consumer moves.
pub(super) fn seek(query: &str) -> Result<String, Refused> {
    let to = read(query)?.map(|(SeekParameter::To, to)| to).last();
    let missing = || bad_parameter("to", "write now, latest, all, an event id, a duration such as 10m, or a time");
    to.map(Cow::into_owned).ok_or_else(missing)
}

/// A request for deliveries.
pub(super) struct NextRequest {
    pub(super) count: usize,
    pub(super) wait: Duration,
    pub(super) worker: Option<String>,
}

/// Reads a request for deliveries.
pub(super) fn next(query: &str) -> Result<NextRequest, Refused> {
    const COUNTS: RangeInclusive<usize> = 1..=TAKE_MAX;
    let mut next = NextRequest { count: 1, wait: Duration::ZERO, worker: None };
    for (parameter, value) in read(query)? {
        match parameter {
            NextParameter::Count => {
                let count = value.parse().ok().filter(|count| COUNTS.contains(count));
                next.count =
                    count.ok_or_else(|| bad_parameter("count", &format!("write a number from 1 to {TAKE_MAX}")))?;
            }
            NextParameter::Wait => {
                let wait = humantime::parse_duration(&value).ok().filter(|wait| *wait <= NEXT_WAIT_MAX);
                let most = NEXT_WAIT_MAX.as_secs();
                let what = format!("write a duration such as 30s, {most}s at most");
                next.wait = wait.ok_or_else(|| bad_parameter("wait", &what))?;
            }
            NextParameter::Worker => next.worker = Some(value.into_owned()),
        }
    }
    Ok(next)
}

/// Reads a request for a stream of deliveries of a consumer, and the interval of its heartbeats. A stream has no other format
/// than JSON, since the data of an event has no room for a token.
pub(super) fn deliveries(consumer: &str, query: &str) -> Result<(Consume, Option<Duration>), Refused> {
    let (mut consume, mut heartbeat) = (Consume::new(consumer), None);
    for (parameter, value) in read(query)? {
        match parameter {
            DeliveriesParameter::MaxInFlight => consume.max_in_flight = Some(number("max_in_flight", &value)?),
            DeliveriesParameter::Worker => consume.client = Some(value.into_owned()),
            DeliveriesParameter::Heartbeat => heartbeat = Some(interval(&value)?),
            DeliveriesParameter::Format if value == "json" => {}
            DeliveriesParameter::Format => {
                return Err(bad_parameter("format", "write json, the only one for deliveries"));
            }
        }
    }
    Ok((consume, heartbeat))
}

/// Which dead letters to list.
#[derive(Default)]
pub(super) struct DeadList {
    pub(super) id: Option<EventId>,
    pub(super) filter: Option<String>,
    pub(super) after: Option<EventId>,
}

/// Reads which dead letters to list.
pub(super) fn dead_list(query: &str) -> Result<DeadList, Refused> {
    let mut list = DeadList::default();
    for (parameter, value) in read(query)? {
        match parameter {
            DeadListParameter::Id => list.id = Some(id("id", &value)?),
            DeadListParameter::Filter => list.filter = Some(value.into_owned()),
            DeadListParameter::After => list.after = Some(id("after", &value)?),
        }
    }
    if list.id.is_some() && (list.filter.is_some() || list.after.is_some()) {
        return Err(bad_parameter("id", "it names one dead letter; leave out filter and after"));
    }
    Ok(list)
}

/// Reads which dead letters to change.
pub(super) fn dead_selection(query: &str) -> Result<DeadSelection, Refused> {
    let mut selection = DeadSelection::default();
    for (parameter, value) in read(query)? {
        match parameter {
            DeadParameter::Id => selection.id = Some(id("id", &value)?),
            DeadParameter::Filter => selection.filter = Some(value.into_owned()),
            DeadParameter::All => {
                selection.all = truth(&value).ok_or_else(|| bad_parameter("all", "write true or false"))?;
            }
        }
    }
    Ok(selection)
}

fn id(name: &str, value: &str) -> Result<EventId, Refused> {
    value.parse().map_err(|_| bad_parameter(name, "write the id of an event, such as k3f9x0ab-7"))
}

fn number(name: &str, value: &str) -> Result<u64, Refused> {
    value.parse().map_err(|_| bad_parameter(name, "write a number such as 4"))
}
