//! Parses the lines of `--jsonl`.

use serde::Deserialize;
use sse_bus::{
    Headers,
    protocol::{
        Ack, Payload, Publish,
        json::{self, DecodeError},
    },
};

use crate::publish::text::EncodingError;

/// The fields of a publish. Those that are missing come from the command line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `data`")]
struct JsonLine {
    topic: Option<String>,
    #[serde(default)]
    data: Payload,
    #[serde(rename = "type")]
    event_type: Option<String>,
    headers: Option<Headers>,
    retain: Option<bool>,
    ttl_ms: Option<u64>,
    to: Option<String>,
    ack: Option<Ack>,
    dedup_id: Option<String>,
    in_ms: Option<u64>,
    at: Option<u64>,
    schedule_id: Option<String>,
}

/// Why a line cannot be published.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    #[error(transparent)]
    Json(#[from] DecodeError),
    #[error("it has no `topic`, and the command line has no default")]
    NoTopic,
}

/// Parses a line into an event. Fields that the line does not have come from `template`.
pub(super) fn parse(line: &[u8], template: &Publish) -> Result<Publish, LineError> {
    let line: JsonLine = json::decode(line)?;
    let topic = match line.topic {
        Some(topic) => topic,
        None if template.topic.is_empty() => return Err(LineError::NoTopic),
        None => template.topic.clone(),
    };
    let mut publish = Publish::new(topic, line.data.0);
    publish.event_type = line.event_type.or_else(|| template.event_type.clone());
    publish.headers = line.headers.map_or_else(
        || template.headers.clone(),
        |headers| headers.iter().map(|(name, value)| (name.into(), value.into())).collect(),
    );
    publish.retain = line.retain.unwrap_or(template.retain);
    publish.ttl_ms = line.ttl_ms.or(template.ttl_ms);
    publish.to = line.to.or_else(|| template.to.clone());
    publish.ack = line.ack.unwrap_or(template.ack);
    publish.dedup_id = line.dedup_id;
    (publish.in_ms, publish.at, publish.schedule_id) = (line.in_ms, line.at, line.schedule_id);
    Ok(publish)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(line: &str) -> Result<String, String> {
        let template = Publish::new("t", "");
        let parsed = parse(line.as_bytes(), &template).map_err(|e| e.to_string())?;
        Ok(String::from_utf8(parsed.data.0).unwrap())
    }

    #[test]
    fn data_is_the_content_of_a_string_or_the_text_of_another_value() {
        assert_eq!(data(r#"{"data":"a\nb"}"#).unwrap(), "a\nb");
        let value = r#"{ "z" : [1.10, 1e400] , "a\" b": null }"#;
        assert_eq!(data(&format!(r#"{{"data": {value} }}"#)).unwrap(), value);
        assert_eq!(data(r#"{"data": 7 }"#).unwrap(), "7");
        assert_eq!(data(r#"{"data":null}"#).unwrap(), "null");
        assert_eq!(data(r#"{"type":"x"}"#).unwrap(), "");
    }

    #[test]
    fn missing_fields_come_from_the_command_line() {
        let template = Publish::new("t", "").with_type("k").with_header("a", "1").retained();
        let parsed = parse(br#"{"topic":"u","retain":false,"ack":"none"}"#, &template).unwrap();
        let expected = Publish::new("u", "").with_type("k").with_ack(Ack::None);
        assert_eq!(parsed, expected.clone().with_header("a", "1"));
        let parsed = parse(br#"{"topic":"u","retain":false,"ack":"none","headers":{"B":"2"}}"#, &template).unwrap();
        assert_eq!(parsed, expected.with_header("b", "2"));
    }

    #[test]
    fn the_error_of_an_invalid_line_contains_the_reason() {
        assert!(data("{\"data\":1").unwrap_err().contains("EOF"));
        assert!(data(r#"{"date":1}"#).unwrap_err().contains("unknown field `date`"));
        assert!(data(r#"{"headers":{"a b":""}}"#).unwrap_err().contains("the header `a b` cannot be used"));
        assert!(data(r#"{"headers":{"a":1}}"#).unwrap_err().contains("expected a string"));
        assert!(matches!(parse(b"{}", &Publish::default()), Err(LineError::NoTopic)));
    }
}
