//! No valid event, client name or id forges a field or an event of a stream.
//!
//! All of them pass through the bus, and a subscriber's stream is read back by two independent parsers, in pieces of
//! any size. One keeps ids as browsers do; the other reports every unknown field, and every `retry`.

use std::{convert::Infallible, fmt, task::Waker};

use bytes::Bytes;
use eventsource_stream::EventStream;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};
use sse_bus::{
    Epoch,
    bus::{Bus, Format, Now, Publication, Read, Start, Subscription, history::Memory},
    limits::Limits,
    protocol::{
        Publish, Subscribe,
        sse::{self, PositionForm},
    },
    retention::Retention,
};
use sse_stream::SseByteStream;

/// What the daemon sends before the first event.
const RETRY: &str = "retry: 1500\n";

/// Text that contains line ends or looks like fields, also to a careless parser.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop_oneof![Just("\r"), Just("\n"), Just("\r\n"), Just("\0"), Just("\n\n"), Just("\r\r")],
        4 => prop_oneof![Just("data: x"), Just("id: 9"), Just("event: forged"), Just("retry: 1"), Just(": x"), Just("data")],
        2 => prop_oneof![Just(" "), Just(":"), Just("\u{feff}"), Just("\u{85}"), Just("\u{2028}"), Just("\u{b}"), Just("\u{c}")],
        2 => prop_oneof![Just("$gap"), Just("\"}"), Just("\\n"), Just("\\"), Just("e-9"), Just("a"), Just("é"), Just("\u{1f600}")],
    ];
    vec(piece.prop_map(str::to_owned).boxed().prop_union("\\PC".boxed()), 0..8).prop_map(|pieces| pieces.concat())
}

/// Mostly valid characters, so that there are events.
fn publish() -> impl Strategy<Value = Publish> {
    let topic = prop_oneof![3 => Just("a/b".to_owned()), 1 => hostile()];
    let kind = prop_oneof![2 => Just(None), 2 => hostile().prop_map(|kind| Some(kind.replace(['\r', '\n', '\0'], ""))),
        1 => hostile().prop_map(Some)];
    let data = prop_oneof![3 => hostile().prop_map(|data| data.replace('\0', "")), 1 => hostile()];
    let header = (prop_oneof![3 => Just("key".to_owned()), 1 => hostile()], hostile());
    (topic, kind, data, option::weighted(0.3, header)).prop_map(|(topic, kind, data, header)| {
        let mut publish = Publish::new(topic, data);
        publish.event_type = kind;
        publish.headers.extend(header);
        publish
    })
}

/// An event as any parser must see it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    id: String,
    /// The event that a browser dispatches.
    kind: String,
    data: String,
    retry: Option<u128>,
}

/// A stream that arrives in pieces of this size.
fn pieces(bytes: &[u8], size: usize) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::iter(bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>())
}

/// Everything that a parser returns, each without an error.
fn all<T, E: fmt::Debug>(parsed: impl Stream<Item = Result<T, E>>) -> Vec<T> {
    let parsed: Vec<_> = parsed.collect().now_or_never().expect("everything is there");
    parsed.into_iter().map(|item| item.expect("the stream has no errors")).collect()
}

/// The events that a parser returns which keeps an id until the next, as browsers do.
fn as_a_browser_does(bytes: &[u8], size: usize) -> Vec<Seen> {
    let events = all(EventStream::new(pieces(bytes, size)));
    let seen = |event: eventsource_stream::Event| Seen {
        id: event.id,
        kind: event.event,
        data: event.data,
        retry: event.retry.map(|retry| retry.as_millis()),
    };
    events.into_iter().map(seen).collect()
}

/// The events, and the number of positions without data, that a parser returns which reports every block of fields.
fn strictly(bytes: &[u8], size: usize) -> (Vec<Seen>, usize) {
    let blocks = all(SseByteStream::new(pieces(bytes, size)));
    let count = blocks.len();
    let mut last = String::new();
    let seen = |block: sse_stream::Sse| {
        // What is live only has none: a browser keeps the one before.
        let id = block.id.unwrap_or_else(|| last.clone());
        last.clone_from(&id);
        let Some(data) = block.data else {
            assert_eq!(block.event, None, "the position {id} is no event");
            return None;
        };
        let kind = block.event.unwrap_or_else(|| "message".into());
        Some(Seen { id, kind, data, retry: block.retry.map(Into::into) })
    };
    let seen: Vec<_> = blocks.into_iter().filter_map(seen).collect();
    let positions = count - seen.len();
    (seen, positions)
}

/// A subscriber with a name and a last id, and its stream.
struct Subscriber {
    bus: Bus,
    id: sse_bus::bus::ClientId,
    stream: Vec<u8>,
}

impl Subscriber {
    /// Returns `None` if its name is refused.
    fn new(name: Option<&String>, last_id: Option<&String>, format: Format, form: PositionForm) -> Option<Subscriber> {
        let history = Memory::new(Retention::default());
        let mut bus = Bus::new(Epoch::parse("e").expect("legal"), Limits::default(), Box::new(history));
        let mut subscribe = Subscribe::new(["**", "$sys/**"]).with_since("all");
        subscribe.client = name.cloned();
        let mut subscription = Subscription::parse(&subscribe, format, "test".into()).ok()?;
        subscription.position_form = form;
        if let Some(id) = last_id {
            subscription.start = Start::After(id.clone());
        }
        let (id, _) = bus.subscribe(subscription, Now::default()).expect("there is room");
        Some(Subscriber { bus, id, stream: RETRY.into() })
    }

    /// Another client comes, of which this one receives an event.
    fn another_comes(&mut self, name: Option<&String>) {
        let mut subscribe = Subscribe::new(["other"]);
        subscribe.client = name.cloned();
        let subscription = Subscription::parse(&subscribe, Format::Json, "test".into()).expect("legal");
        self.bus.subscribe(subscription, Now::default()).expect("there is room");
    }

    fn read(&mut self) {
        let mut out = Vec::new();
        while self.bus.read(self.id, Now::default(), Waker::noop(), &mut out) == Read::Ready {}
        self.stream.extend(out.concat());
        self.stream.extend_from_slice(sse::HEARTBEAT);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_published_forges_a_field_or_an_event(
        events in vec(publish(), 0..6),
        name in option::of(hostile()),
        last_id in option::of(hostile()),
        envelopes in any::<bool>(),
        form in prop_oneof![Just(PositionForm::Event), Just(PositionForm::Id), Just(PositionForm::None)],
        size in 1_usize..80,
    ) {
        let format = if envelopes { Format::SseJson } else { Format::SseData };
        let Some(mut subscriber) = Subscriber::new(name.as_ref(), last_id.as_ref(), format, form) else {
            let name = name.expect("only a name is refused");
            let resembles_an_id = name.strip_prefix('c').is_some_and(|number| number.parse::<u64>().is_ok());
            let is_illegal = name.is_empty() || name.contains(char::is_control) || resembles_an_id;
            prop_assert!(is_illegal, "{:?} is refused", name);
            return Ok(());
        };
        subscriber.read();
        subscriber.another_comes(name.as_ref());
        subscriber.read();
        let mut expected = Vec::new();
        for publish in events {
            let Publish { topic, event_type: kind, headers, data, .. } = publish.clone();
            let Ok(publication) = Publication::parse(publish, subscriber.bus.limits()) else { continue };
            let published = subscriber.bus.publish(publication, None, Now::default()).expect("there is room");
            let data = String::from_utf8(data.0).expect("UTF-8");
            expected.push((published.id.expect("it is in the log").to_string(), topic, kind, headers, data));
            subscriber.read();
        }
        subscriber.read();

        let seen = as_a_browser_does(&subscriber.stream, size);
        let (strictly, positions) = strictly(&subscriber.stream, size);
        // The first block has `retry`. If that is a position without data, it is no event.
        let retries: Vec<_> = seen.iter().map(|event| event.retry).collect();
        let waits: Vec<_> = (0..seen.len()).map(|i| (i == 0 && positions == 0).then_some(1500)).collect();
        prop_assert_eq!(retries, waits);
        prop_assert_eq!(&strictly, &seen, "{:?}", String::from_utf8_lossy(&subscriber.stream));

        // First the position, or a gap if the requested one is unknown; then the join event.
        let mut seen = seen.into_iter();
        let has_position = last_id.is_none();
        prop_assert_eq!(positions, usize::from(has_position && form == PositionForm::Id));
        if has_position && form == PositionForm::Event {
            let position = seen.next().expect("a position");
            let value: Value = serde_json::from_str(&position.data).expect("JSON");
            prop_assert_eq!((&*position.id, &*position.kind), ("e-0", "$position"));
            prop_assert_eq!(value, json!({ "client": "c1", "position": "e-0" }));
        }
        if last_id.is_some() {
            let gap = seen.next().expect("a gap");
            let value: Value = serde_json::from_str(&gap.data).expect("JSON");
            prop_assert_eq!((&*gap.id, &*gap.kind), ("e-0", "$gap"));
            prop_assert!(["unknown_id", "restarted"].map(Value::from).contains(&value["reason"]), "{}", value);
        }
        let join = seen.next().expect("the join event");
        let value: Value = serde_json::from_str(&join.data).expect("JSON");
        prop_assert_eq!(&*join.id, if has_position && form == PositionForm::None { "" } else { "e-0" });
        if envelopes {
            prop_assert_eq!((&value["type"], &*join.kind), (&json!("join"), "message"));
            prop_assert_eq!(&value["id"], &Value::Null);
            let client: Value = serde_json::from_str(value["data"].as_str().expect("text")).expect("JSON");
            prop_assert_eq!(&client["name"], &json!(name));
        } else {
            prop_assert_eq!((&value["name"], &*join.kind), (&json!(name), "join"));
        }

        let seen: Vec<_> = seen.map(|event| (event.id, event.kind, event.data)).collect();
        prop_assert_eq!(seen.len(), expected.len());
        for (seen, (id, topic, kind, headers, data)) in seen.into_iter().zip(expected) {
            if envelopes {
                let value: Value = serde_json::from_str(&seen.2).expect("JSON");
                let mut envelope = json!({ "id": id, "topic": topic, "type": kind, "time": 0, "data": data });
                if let [(name, value)] = &*headers {
                    envelope["headers"] = json!({ name.to_ascii_lowercase(): value });
                }
                prop_assert_eq!((seen.0, &*seen.1, value), (id, "message", envelope));
            } else {
                let data = data.replace("\r\n", "\n").replace('\r', "\n");
                prop_assert_eq!(seen, (id, kind.unwrap_or_else(|| "message".into()), data));
            }
        }
    }
}
