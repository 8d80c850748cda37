//! Any event that may be published, in every encoding of the bus, read back: what comes out is what went in, one event,
//! and no other field.
//!
//! The first bytes number the event; the type, the topic, a header and the data follow, with a NUL between them. The
//! header has its name before a colon.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sse_bus::{
    Epoch, Event, EventId,
    bus::{Format, Publication},
    limits::Limits,
    protocol::{
        Publish, Reply,
        binary::{Frame, Version},
        sse,
    },
};

use sse_bus_support::sse_parser::{self, Dispatched};

fuzz_target!(|bytes: &[u8]| {
    let Some((seq, rest)) = bytes.split_first_chunk::<8>() else { return };
    let mut parts = rest.splitn(4, |byte| *byte == 0);
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (kind, topic, header) = (text(), text(), text());
    let data = parts.next().unwrap_or_default();
    let kind = Some(kind).filter(|kind| !kind.is_empty());
    let mut publish = Publish::new(topic, data.to_vec());
    publish.event_type.clone_from(&kind);
    if let Some((name, value)) = header.split_once(':') {
        publish = publish.with_header(name, value);
    }
    let Ok(Publication { topic, event_type: parsed, headers, data, .. }) =
        Publication::parse(publish, &Limits::default())
    else {
        // No event, so nothing is encoded. Text in a usual topic is one.
        return;
    };
    let seq = u64::from_le_bytes(*seq);
    let id = EventId::new(Epoch::from_seed(seq), seq);
    let mut event = Event::new(id, topic, data, seq.rotate_left(32));
    (event.event_type, event.headers) = (parsed, headers);
    check_data(&event, kind.as_deref());
    check_envelopes(&event, kind.as_deref());
});

fn encoded(format: Format, event: &Event) -> Vec<u8> {
    let mut out = Vec::new();
    format.encode(event, &mut out);
    out
}

/// The stream of one event, with a comment and another event behind it, which must be the only ones.
fn dispatched(format: Format, event: &Event) -> Dispatched {
    let mut stream = encoded(format, event);
    stream.extend_from_slice(sse::HEARTBEAT);
    stream.extend_from_slice(b"data: next\n\n");
    let stream = String::from_utf8(stream).expect("UTF-8");
    assert!(!stream.contains(['\r', '\0']), "{stream:?}");
    let (events, rest) = sse_parser::parse(&stream);
    assert_eq!(rest, "", "{stream:?}");
    // The id stays until there is another one; type and data do not.
    let next = Dispatched { id: event.id.to_string(), kind: None, data: "next".into() };
    match <[Dispatched; 2]>::try_from(events) {
        Ok([first, second]) if second == next => first,
        other => panic!("{other:?} in {stream:?}"),
    }
}

fn check_data(event: &Event, kind: Option<&str>) {
    let data = event.data.replace("\r\n", "\n").replace('\r', "\n");
    let lines = String::from_utf8(encoded(Format::SseData, event)).expect("UTF-8");
    let fields: Vec<&str> = lines.lines().map(|line| line.split(": ").next().unwrap_or_default()).collect();
    let mut expected = vec!["id"];
    expected.extend(kind.map(|_| "event"));
    expected.extend(data.split('\n').map(|_| "data"));
    expected.push("");
    assert_eq!(fields, expected, "{lines:?}");
    let expected = Dispatched { id: event.id.to_string(), kind: kind.map(Into::into), data };
    assert_eq!(dispatched(Format::SseData, event), expected);
}

fn check_envelopes(event: &Event, kind: Option<&str>) {
    let Event { id, topic, headers, data, time, .. } = event;
    let mut envelope = json!({"id": id.to_string(), "topic": topic.as_str(), "type": kind, "time": time, "data": data});
    if !headers.is_empty() {
        envelope["headers"] = headers.iter().map(|(name, value)| (name, json!(value))).collect();
    }
    let Dispatched { id, kind, data } = dispatched(Format::SseJson, event);
    assert_eq!((id, kind), (event.id.to_string(), None));
    assert_eq!(serde_json::from_str::<Value>(&data).expect("JSON"), envelope);

    let line = encoded(Format::Json, event);
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
    let line: Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!(line, json!({ "event": envelope }));

    for version in Version::ALL {
        let frame = encoded(Format::binary(version), event);
        match version.decode::<Reply>(&frame) {
            Frame::Whole(reply, used) if used == frame.len() => {
                let mut expected = line.clone();
                if let (Version::V1, Some(event)) = (version, expected["event"].as_object_mut()) {
                    event.remove("headers");
                }
                assert_eq!(serde_json::to_value(reply).expect("JSON"), expected);
            }
            other => panic!("{other:?}"),
        }
    }
}
