//! `sse-busctl publish --lines` and `--jsonl`: every line of stdin is an event.
//!
//! Reading, sending and taking answers go on at the same time, in the order of the lines and in constant memory: a
//! line that could never be sent is skipped as it is read. When the daemon goes away the rest is not sent, and nothing
//! is sent again; the end says how many were accepted.

mod split;
mod tally;

use std::{cell::RefCell, fmt::Write, io::IsTerminal};

use serde::Deserialize;
use serde_json::value::RawValue;
use sse_bus::{
    Client,
    client::{Error, Publisher, Replies},
    limits::FRAME_MAX,
    protocol::{Ack, ErrorCode, Payload, Publish},
};
use tokio::io::AsyncReadExt;

use crate::{
    exit::{Exit, Failure, of_code},
    output::{Output, count},
    signals::Signals,
};
use split::{Line, Splitter};
use tally::Tally;

/// Bytes that one read asks for.
const READ_SIZE: usize = 64 << 10;

pub(crate) async fn run(client: Client, output: &Output, template: Publish, json: bool) -> Result<(), Failure> {
    if std::io::stdin().is_terminal() {
        eprintln!("one event a line, and then Ctrl-D:");
    }
    let (publisher, mut replies) = client.into_split();
    let tally = RefCell::new(Tally::new(template.to.is_some()));
    // A signal is the end of the input: what was sent is still answered.
    let mut signals = Signals::watch(true);
    let outcome = {
        let answers = take_answers(&mut replies, &tally);
        let input = feed(publisher, &template, json, &tally, &mut signals);
        tokio::pin!(answers, input);
        tokio::select! {
            // The daemon is gone, however much there is still to read.
            outcome = &mut answers => outcome,
            end = &mut input => match end {
                Ok(_finished) => answers.await,
                Err(Feed::Input(e)) => Err(Failure::new(Exit::Failed, format!("cannot read stdin: {e}"))),
                // Reading tells more about the end of a connection than writing.
                Err(Feed::Connection(e)) => answers.await.and(Err(e.into())),
            },
        }
    };
    finish(&tally.into_inner(), output, outcome)
}

/// Says how many were accepted, and how it ended.
fn finish(tally: &Tally, output: &Output, outcome: Result<(), Failure>) -> Result<(), Failure> {
    let mut summary = format!("{} accepted", count(tally.accepted(outcome.is_ok()), "event"));
    // Writing to a String does not fail.
    if tally.refused > 0 {
        let _ = write!(summary, ", {} refused", tally.refused);
    }
    if tally.nobody > 0 {
        let _ = write!(summary, ", {} of them taken by no client", tally.nobody);
    }
    if outcome.is_err() && tally.open() > 0 {
        let _ = write!(summary, ", {} without an answer; nothing is sent again", tally.open());
    }
    eprintln!("{summary}");
    if !output.people {
        let accepted = tally.accepted(outcome.is_ok());
        output.say(String::new, &serde_json::json!({ "accepted": accepted, "refused": tally.refused }))?;
    }
    outcome?;
    match tally.worst {
        Some(exit) => Err(Failure::silent(exit)),
        None => Ok(()),
    }
}

/// Why feeding ended early.
enum Feed {
    Input(std::io::Error),
    Connection(Error),
}

impl From<Error> for Feed {
    fn from(error: Error) -> Feed {
        Feed::Connection(error)
    }
}

async fn feed(
    mut publisher: Publisher,
    template: &Publish,
    json: bool,
    tally: &RefCell<Tally>,
    signals: &mut Signals,
) -> Result<sse_bus::client::Finished, Feed> {
    let mut input = tokio::io::stdin();
    let mut lines = Splitter::new(FRAME_MAX);
    let mut event = template.clone();
    let mut more = true;
    while more {
        let space = lines.space(READ_SIZE);
        let read = tokio::select! {
            read = input.read_buf(space) => read.map_err(Feed::Input)?,
            () = signals.stop() => break,
        };
        more = read > 0;
        while let Some(line) = if more { lines.next() } else { lines.end() } {
            let line = match line {
                Line::Whole(line) => line,
                Line::TooLong(bytes) => {
                    let why = format!("{bytes} bytes are more than fit one event ({})", ErrorCode::LimitFrame.as_str());
                    tally.borrow_mut().skip(Exit::Limit, &why);
                    continue;
                }
            };
            if json {
                match parse(line, template) {
                    Ok(parsed) => event = parsed,
                    Err(why) => {
                        tally.borrow_mut().skip(Exit::Failed, &why);
                        continue;
                    }
                }
            } else {
                event.data.0.clear();
                event.data.0.extend_from_slice(line);
            }
            match publisher.send(&event).await {
                Ok(number) => tally.borrow_mut().sent(number, event.ack == Ack::None),
                Err(e @ Error::TooLarge { .. }) => tally.borrow_mut().skip(Exit::Limit, &e.to_string()),
                Err(e) => return Err(e.into()),
            }
        }
        publisher.flush().await?;
    }
    Ok(publisher.finish().await?)
}

async fn take_answers(replies: &mut Replies, tally: &RefCell<Tally>) -> Result<(), Failure> {
    while let Some((number, answer)) = replies.next().await? {
        let mut tally = tally.borrow_mut();
        match answer {
            Ok(published) => tally.accept(number, published.subscribers),
            Err(refused) => tally.refuse(number, of_code(refused.code), &refused.to_string()),
        }
    }
    Ok(())
}

/// A line of `--jsonl`: the fields of a publish; what is not given comes from the command line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
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

fn parse(line: &[u8], template: &Publish) -> Result<Publish, String> {
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
