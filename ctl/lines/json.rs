//! The lines of `--jsonl`: JSON objects with the fields of a publish.

use serde::Deserialize;
use serde_json::value::RawValue;
use sse_bus::protocol::{Ack, Payload, Publish};

/// A line of `--jsonl`: the fields of a publish; what is not given comes from the command line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `data`")]
struct JsonLine {
    topic: Option<String>,
    data: Option<Box<RawValue>>,
    #[serde(rename = "type")]
    kind: Option<String>,
    retain: Option<bool>,
    ttl_ms: Option<u64>,
    to: Option<String>,
    ack: Option<Ack>,
}

pub(super) fn parse(line: &[u8], template: &Publish) -> Result<Publish, String> {
    let line: JsonLine = sse_bus::protocol::json::decode(line)?;
    let topic = match line.topic {
        Some(topic) => topic,
        None if template.topic.is_empty() => return Err("it has no `topic`, and none was given to fall back on".into()),
        None => template.topic.clone(),
    };
    let data = line.data.map_or_else(|| Ok(Vec::new()), |data| text(&data))?;
    Ok(Publish {
        topic,
        data: Payload(data),
        kind: line.kind.or_else(|| template.kind.clone()),
        retain: line.retain.unwrap_or(template.retain),
        ttl_ms: line.ttl_ms.or(template.ttl_ms),
        to: line.to.or_else(|| template.to.clone()),
        ack: line.ack.unwrap_or(template.ack),
    })
}

/// A string's text, or any other value as compact JSON, its numbers and the order of its keys as they were written.
fn text(value: &RawValue) -> Result<Vec<u8>, String> {
    if value.get().starts_with('"') {
        let text: String = serde_json::from_str(value.get()).map_err(|e| e.to_string())?;
        return Ok(text.into_bytes());
    }
    let mut compact = Vec::with_capacity(value.get().len());
    let (mut quoted, mut escaped) = (false, false);
    for byte in value.get().bytes() {
        if quoted || !byte.is_ascii_whitespace() {
            compact.push(byte);
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    Ok(compact)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(line: &str) -> Result<String, String> {
        let template = Publish::new("t", "");
        parse(line.as_bytes(), &template).map(|p| String::from_utf8(p.data.0).unwrap())
    }

    #[test]
    fn json_data_is_a_string_or_compact_json() {
        assert_eq!(data(r#"{"data":"a\nb"}"#).unwrap(), "a\nb");
        assert_eq!(
            data(r#"{"data": { "z" : [1.10, 1e400] , "a\" b": null } }"#).unwrap(),
            r#"{"z":[1.10,1e400],"a\" b":null}"#
        );
        assert_eq!(data(r#"{"data": 7 }"#).unwrap(), "7");
        assert_eq!(data(r#"{"type":"x"}"#).unwrap(), "");
    }

    #[test]
    fn json_lines_fall_back_on_the_command_line() {
        let template = Publish { retain: true, kind: Some("k".into()), ..Publish::new("t", "") };
        let parsed = parse(br#"{"topic":"u","retain":false,"ack":"none"}"#, &template).unwrap();
        assert_eq!(parsed, Publish { kind: Some("k".into()), ack: Ack::None, ..Publish::new("u", "") });
    }

    #[test]
    fn bad_json_lines_say_what_is_wrong() {
        assert!(data("{\"data\":1").unwrap_err().contains("EOF"));
        assert!(data(r#"{"date":1}"#).unwrap_err().contains("unknown field `date`"));
        assert!(parse(b"{}", &Publish::default()).unwrap_err().contains("no `topic`"));
    }
}
