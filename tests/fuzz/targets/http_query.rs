//! What a request for `/events` asks for: the path, the query and `Last-Event-ID`, each on a line of the input.
//!
//! What is accepted is legal, says the same when it is written out and read again, and brings no more into the stream
//! than the bus's own events.
#![no_main]

#[path = "../../../daemon/http/consumer_query.rs"]
mod consumer_query;
#[path = "../../../daemon/nearest.rs"]
mod nearest;
#[path = "../../../daemon/http/parameters.rs"]
mod parameters;
#[path = "../../../daemon/http/query.rs"]
mod query;
mod refusal;

use std::{task::Waker, time::Duration};

use form_urlencoded::Serializer;
use libfuzzer_sys::fuzz_target;
use sse_bus::{
    Epoch, FilterSet,
    bus::{Bus, Format, Now, Publication, Start, Subscription, consumers::ConsumerSettings, history::Memory},
    limits::{FILTERS_MAX, Limits, NAME_MAX, NEXT_WAIT_MAX, TAKE_MAX},
    protocol::{Ack, Publish, Refused, Slow, sse::PositionForm},
    retention::Retention,
};
use sse_bus_support::sse_parser;

const PEER: &str = "127.0.0.1:50000";

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (path, query) = (text(), text());
    subscribe(Some(path.clone()).filter(|path| !path.is_empty()), &query, lines.next());
    consumer(&path, &query);
    publish(path, &query);
});

/// Requests about consumers: what is accepted is within its bounds.
fn consumer(name: &str, query: &str) {
    let next = consumer_query::next(query);
    if let Ok(next) = &next {
        assert!((1..=TAKE_MAX).contains(&next.count) && next.wait <= NEXT_WAIT_MAX);
        assert!(next.worker.is_none() || query.contains("worker"));
    }
    let list = consumer_query::dead_list(query);
    if let Ok(list) = &list {
        assert!(list.id.is_none() || (list.filter.is_none() && list.after.is_none()));
    }
    let settings = consumer_query::create(query).map(Option::unwrap_or_default);
    let settings = settings.and_then(|config| ConsumerSettings::parse(&config).map(drop));
    let deliveries = consumer_query::deliveries(name, query);
    let others = [settings.err(), next.err(), list.err(), deliveries.err()];
    let refused =
        others.into_iter().chain([consumer_query::seek(query).err(), consumer_query::dead_selection(query).err()]);
    refused.flatten().for_each(|refused| refusal::check(&refused));
}

fn subscribe(path: Option<String>, query: &str, last_event_id: Option<&[u8]>) {
    let parse = |path, query: &str, last| {
        let request = query::stream(path, query)?;
        let mut subscription = Subscription::parse(&request.subscribe, request.format, PEER.into())?;
        request.options.apply(last, PositionForm::Id, &mut subscription);
        Ok::<_, Refused>(subscription)
    };
    let subscription = match parse(path, query, last_event_id) {
        Ok(subscription) => subscription,
        Err(refused) => return refusal::check(&refused),
    };
    let Subscription { filters, format, start, description, .. } = &subscription;
    assert!((1..=FILTERS_MAX).contains(&filters.iter().count()));
    assert_eq!(FilterSet::parse(&filters.to_strings()).as_ref(), Ok(filters));
    assert!(matches!(format, Format::SseData | Format::SseJson) && description.peer == PEER);
    if let Some(name) = &description.name {
        assert!(name.as_str().len() <= NAME_MAX && !name.as_str().contains(char::is_control));
    }
    if let Some(id) = last_event_id.filter(|id| !id.is_empty()) {
        assert_eq!(*start, Start::After(String::from_utf8_lossy(id).into_owned()));
    }
    let again = parse(None, &written(&subscription), None);
    assert_eq!(format!("{:?}", again.expect("legal")), format!("{subscription:?}"));
    check_stream(subscription);
}

/// The subscription as a query.
fn written(subscription: &Subscription) -> String {
    let Subscription { filters, format, start, slow, past_only, description, position_form, heartbeat, .. } =
        subscription;
    let mut query = Serializer::new(String::new());
    query.extend_pairs(filters.iter().map(|filter| ("topic", filter.as_str())));
    if let Some(name) = &description.name {
        query.append_pair("client", name.as_str());
    }
    query.append_pair("format", if *format == Format::SseData { "data" } else { "json" });
    query.append_pair(
        "position",
        match position_form {
            PositionForm::Event => "event",
            PositionForm::Id => "id",
            PositionForm::None => "none",
        },
    );
    query.append_pair("heartbeat", &format!("{}s", heartbeat.as_secs()));
    query.append_pair("past_only", if *past_only { "true" } else { "false" });
    query.append_pair(
        "slow",
        match slow {
            Slow::Gap => "gap",
            Slow::Latest => "latest",
            Slow::Disconnect => "disconnect",
            other => panic!("{other:?} cannot be written"),
        },
    );
    match start {
        Start::Retained => &mut query,
        Start::Now => query.append_pair("since", "now"),
        Start::Latest => query.append_pair("since", "latest"),
        Start::All => query.append_pair("since", "all"),
        Start::Last(time) => query.append_pair("since", &humantime::format_duration(*time).to_string()),
        Start::After(id) => query.append_pair("last_event_id", id),
    };
    query.finish()
}

/// The stream begins with the events of the bus, whatever was asked for.
fn check_stream(subscription: Subscription) {
    let epoch = Epoch::parse("e").expect("legal");
    let mut bus = Bus::new(epoch, Limits::default(), Box::new(Memory::new(Retention::default())));
    let publish = Publish::new("a/b", "ok").with_type("done");
    let publication = Publication::parse(publish, bus.limits()).expect("legal");
    bus.publish(publication, None, Now::default()).expect("there is room");
    let (client, _) = bus.subscribe(subscription, Now::default()).expect("there is room");
    let mut out = Vec::new();
    let _ = bus.read(client, Now::default(), Waker::noop(), &mut out);
    let stream = String::from_utf8(out.concat()).expect("UTF-8");
    let (events, rest) = sse_parser::parse(&stream);
    let positions = stream.split_terminator("\n\n").filter(|block| !block.contains("\ndata: ")).count();
    let blocks = stream.matches("\n\n").count();
    assert!(rest.is_empty() && !stream.contains('\r') && blocks == events.len() + positions, "{stream:?}");
    for event in events {
        let kind = event.kind.as_deref();
        assert!(matches!(kind, None | Some("$gap" | "$position" | "$end" | "done" | "join")), "{stream:?}");
        assert!(["e-0", "e-1", "e-2"].contains(&&*event.id), "{stream:?}");
    }
}

fn publish(topic: String, query: &str) {
    let publish = match query::publish(topic.clone(), query) {
        Ok(publish) => publish,
        Err(refused) => return refusal::check(&refused),
    };
    assert!(publish.topic == topic && publish.data.0.is_empty() && publish.event_type.as_deref() != Some(""));
    let mut again = Serializer::new(String::new());
    if let Some(kind) = &publish.event_type {
        again.append_pair("type", kind);
    }
    if let Some(to) = &publish.to {
        again.append_pair("to", to);
    }
    if let Some(ttl) = publish.ttl_ms {
        again.append_pair("ttl", &humantime::format_duration(Duration::from_millis(ttl)).to_string());
    }
    for (name, value) in [("dedup_id", &publish.dedup_id), ("schedule_id", &publish.schedule_id)] {
        if let Some(value) = value {
            again.append_pair(name, value);
        }
    }
    if let Some(time) = publish.in_ms {
        again.append_pair("in", &format!("{time}ms"));
    }
    if let Some(time) = publish.at {
        again.append_pair("at", &time.to_string());
    }
    for (name, value) in &publish.headers {
        again.append_pair("header", &format!("{name}:{value}"));
    }
    again.append_pair("retain", if publish.retain { "true" } else { "false" });
    again.append_pair("ack", if publish.ack == Ack::Durable { "durable" } else { "accepted" });
    assert_eq!(query::publish(topic, &again.finish()).as_ref(), Ok(&publish));
    if let Err(refused) = Publication::parse(publish, &Limits::default()) {
        refusal::check(&refused);
    }
}
