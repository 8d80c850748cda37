//! What a subscriber reads, parsed back without the code under test (but for the binary codec, which has tests of its
//! own in `codecs.rs`).

use serde_json::Value;
use sse_bus::{bus::Format, protocol::binary};

#[path = "../common/sse_parser.rs"]
mod sse_parser;

/// One thing that a subscriber reads.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Event { id: String, kind: Option<String>, data: String, envelope: Option<(String, u64)> },
    Gap { id: String, reason: String, missed: Option<u64>, from: String, to: String },
    End { position: String },
}

/// Parses all that one read gave. Whatever is left over is an error: a read gives whole items.
pub(crate) fn parse(format: Format, bytes: &[u8]) -> Result<Vec<Item>, String> {
    match format {
        Format::SseData | Format::SseJson => sse(format, bytes),
        Format::Json => bytes
            .split_inclusive(|b| *b == b'\n')
            .map(|line| reply(&serde_json::from_slice(line).map_err(|e| format!("bad JSON line: {e}"))?))
            .collect(),
        Format::Binary => frames(bytes),
    }
}

fn sse(format: Format, bytes: &[u8]) -> Result<Vec<Item>, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    if text.contains('\r') {
        return Err("a CR in the stream".into());
    }
    let (events, rest) = sse_parser::parse(text);
    if !rest.is_empty() {
        return Err(format!("half an event at the end of a read: {rest:?}"));
    }
    let item = |sse_parser::Dispatched { id, kind, data }| {
        if kind.as_deref() == Some("$gap") {
            return gap(id, &data);
        }
        if kind.as_deref() == Some("$end") {
            let body: Value = serde_json::from_str(&data).map_err(|e| format!("bad end: {e}"))?;
            return if body["position"] == id.as_str() { Ok(Item::End { position: id }) } else { Err(data) };
        }
        if format == Format::SseData {
            return Ok(Item::Event { id, kind, data, envelope: None });
        }
        let body: Value = serde_json::from_str(&data).map_err(|e| format!("bad envelope: {e}"))?;
        if let Some(kind) = kind {
            return Err(format!("an envelope, which carries the type, beside the type {kind:?}"));
        }
        if body["id"] != id.as_str() {
            return Err(format!("the envelope {body} is not that of id {id}"));
        }
        event(&body)
    };
    events.into_iter().map(item).collect()
}

fn frames(mut bytes: &[u8]) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let binary::Frame::Whole(value, used) = binary::decode::<sse_bus::protocol::Reply>(bytes) else {
            return Err("half a frame at the end of a read".into());
        };
        items.push(reply(&serde_json::to_value(&value).map_err(|e| e.to_string())?)?);
        bytes = &bytes[used..];
    }
    Ok(items)
}

fn reply(value: &Value) -> Result<Item, String> {
    if let Some(position) = value["end"]["position"].as_str() {
        return Ok(Item::End { position: position.into() });
    }
    let body = &value["event"];
    if body["type"] == "$gap" { gap(text(body, "id")?, &text(body, "data")?) } else { event(body) }
}

fn event(body: &Value) -> Result<Item, String> {
    let time = body["time"].as_u64().ok_or("no time")?;
    Ok(Item::Event {
        id: text(body, "id")?,
        kind: body["type"].as_str().map(Into::into),
        data: text(body, "data")?,
        envelope: Some((text(body, "topic")?, time)),
    })
}

fn gap(id: String, data: &str) -> Result<Item, String> {
    let body: Value = serde_json::from_str(data).map_err(|e| format!("bad gap: {e}"))?;
    let missed = body["missed"].as_u64();
    Ok(Item::Gap { id, reason: text(&body, "reason")?, missed, from: text(&body, "from")?, to: text(&body, "to")? })
}

fn text(body: &Value, field: &str) -> Result<String, String> {
    body[field].as_str().map(Into::into).ok_or_else(|| format!("no `{field}` in {body}"))
}
