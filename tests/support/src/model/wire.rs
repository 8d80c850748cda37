//! The items that a subscriber reads, parsed without the code under test (except for the binary codec, which has tests of
//! its own in `tests/codecs`).

use serde_json::Value;
use sse_bus::{
    Headers,
    bus::{Format, Framing},
    protocol::{
        Reply,
        binary::{Frame, Version},
    },
};

use crate::sse_parser;

/// The topic of all events for one client.
pub const UNICAST_TOPIC: &str = "to/one";

/// One thing that a subscriber reads.
#[derive(Clone, Debug)]
pub enum Item {
    /// A position from which a subscription misses nothing, sent without an event.
    Position {
        id: String,
    },
    Event {
        /// None if it is live only.
        id: Option<String>,
        /// Where the format has no events without an id: what stands in its place.
        position: Option<String>,
        kind: Option<String>,
        data: String,
        envelope: Option<Envelope>,
    },
    Gap {
        id: String,
        reason: String,
        missed: Option<u64>,
        from: String,
        to: String,
    },
    End {
        position: String,
    },
}

/// The fields beside the data, which a stream of data alone lacks.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub topic: String,
    pub time: u64,
    /// Unknown where the format has none.
    pub headers: Option<Headers>,
}

/// Parses the bytes of one read. A remainder is an error: a read returns whole items.
pub fn parse(format: Format, bytes: &[u8]) -> Result<Vec<Item>, String> {
    match format {
        Format::SseData | Format::SseJson => sse(format, bytes),
        Format::Json => bytes
            .split_inclusive(|b| *b == b'\n')
            .map(|line| reply(&serde_json::from_slice(line).map_err(|e| format!("bad JSON line: {e}"))?))
            .collect(),
        Format::BinaryV1 => frames(Version::V1, bytes),
        Format::BinaryV2 => frames(Version::V2, bytes),
    }
}

fn sse(format: Format, bytes: &[u8]) -> Result<Vec<Item>, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    if text.contains('\r') {
        return Err("a CR in the stream".into());
    }
    // Data holds no blank line, so that each block is an event, or an id alone.
    let items = text.split_inclusive("\n\n").map(|block| {
        let (events, rest) = sse_parser::parse(block);
        match &*events {
            _ if !rest.is_empty() => Err(format!("half an event at the end of a read: {rest:?}")),
            [event] => dispatched(format, event.clone()).map(Some),
            [] => alone(block),
            _ => Err(format!("several events in one block: {block:?}")),
        }
    });
    items.filter_map(Result::transpose).collect()
}

/// The item of a block without data: a position, or none for a comment.
fn alone(block: &str) -> Result<Option<Item>, String> {
    let mut lines = block.lines().filter(|line| *line != ":" && !line.is_empty());
    let id = lines.next().map(|line| line.strip_prefix("id: ").ok_or_else(|| format!("an id, not {line:?}")));
    match lines.next() {
        None => Ok(id.transpose()?.map(|id| Item::Position { id: id.into() })),
        Some(more) => Err(format!("nothing beside the id, saw {more:?}")),
    }
}

fn dispatched(format: Format, item: sse_parser::Dispatched) -> Result<Item, String> {
    let sse_parser::Dispatched { id, kind, data } = item;
    if kind.as_deref() == Some("$position") {
        let body: Value = serde_json::from_str(&data).map_err(|e| format!("bad position: {e}"))?;
        let is_valid = body["position"] == id.as_str() && body["client"].as_str().is_some_and(|c| c.starts_with('c'));
        return if is_valid { Ok(Item::Position { id }) } else { Err(data) };
    }
    if kind.as_deref() == Some("$gap") {
        return gap(id, &data);
    }
    if kind.as_deref() == Some("$end") {
        let body: Value = serde_json::from_str(&data).map_err(|e| format!("bad end: {e}"))?;
        return if body["position"] == id.as_str() { Ok(Item::End { position: id }) } else { Err(data) };
    }
    if format == Format::SseData {
        let id = (!id.is_empty()).then_some(id);
        return Ok(Item::Event { id, position: None, kind, data, envelope: None });
    }
    let body: Value = serde_json::from_str(&data).map_err(|e| format!("bad envelope: {e}"))?;
    if let Some(kind) = kind {
        return Err(format!("an envelope, which carries the type, beside the type {kind:?}"));
    }
    if body["id"].as_str().unwrap_or_default() != id {
        return Err(format!("the envelope {body} is not that of id {id}"));
    }
    event(&body)
}

/// Removes the frames of HTTP chunks, which a reader of the bus may request. Written from RFC 9112, section 7.1.
pub fn unframed(framing: Framing, mut bytes: &[u8]) -> Result<Vec<u8>, String> {
    if framing == Framing::Plain {
        return Ok(bytes.to_vec());
    }
    let mut payload = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(2).position(|two| two == b"\r\n").ok_or("a chunk without a size")?;
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let size = size.filter(|size| *size > 0).ok_or_else(|| format!("{:?} is no size", &bytes[..end]))?;
        let (chunk, rest) = bytes[end + 2..].split_at_checked(size).ok_or("half a chunk")?;
        payload.extend_from_slice(chunk);
        bytes = rest.strip_prefix(b"\r\n").ok_or("a chunk without an end")?;
    }
    Ok(payload)
}

fn frames(version: Version, mut bytes: &[u8]) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let Frame::Whole(value, used) = version.decode::<Reply>(bytes) else {
            return Err("half a frame at the end of a read".into());
        };
        let mut item = reply(&serde_json::to_value(&value).map_err(|e| e.to_string())?)?;
        if let (Version::V1, Item::Event { envelope: Some(envelope), .. }) = (version, &mut item)
            && envelope.headers.take() != Some(Headers::default())
        {
            return Err("headers in version 1".into());
        }
        // By their topics: these are live only, and have the position in the place of an id.
        if let (Version::V1, Item::Event { id, position, envelope: Some(envelope), .. }) = (version, &mut item)
            && ["$sys/clients", UNICAST_TOPIC].contains(&&*envelope.topic)
        {
            *position = id.take();
        }
        items.push(item);
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
    // Omitted where there are none.
    let headers = match body.get("headers") {
        None => Headers::default(),
        Some(headers) if *headers == serde_json::json!({}) => return Err("headers without a header".into()),
        Some(headers) => serde_json::from_value(headers.clone()).map_err(|e| format!("bad headers: {e}"))?,
    };
    let id = body.get("id").ok_or_else(|| format!("no `id` in {body}"))?;
    Ok(Item::Event {
        id: id.as_str().map(Into::into),
        position: None,
        kind: body["type"].as_str().map(Into::into),
        data: text(body, "data")?,
        envelope: Some(Envelope { topic: text(body, "topic")?, time, headers: Some(headers) }),
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
