//! How clients deviate from the standard, and what each delivers instead of the published events. docs/how-to/choose-a-client.md lists the
//! workarounds.

use crate::{Heard, checks::Connection};

/// The faults of a client.
#[derive(Clone, Copy)]
struct Deviation {
    /// Returns what the client delivers for an event.
    event: fn(Heard) -> Heard,
    /// It does not remember an id without data: when a connection breaks before its first event, the client misses the
    /// events until it has reconnected.
    forgets_position: bool,
    /// It delivers an empty message for an id without data, and for the last chunk of a stream, because it does not
    /// decode chunks.
    delivers_empty: bool,
}

const NONE: Deviation = Deviation { event: |event| event, forgets_position: false, delivers_empty: false };

fn of(client: &str) -> Deviation {
    match client {
        "aiohttp-sse-client" | "requests-sse" => Deviation { event: strip_blanks, ..NONE },
        "fetch-event-source" => Deviation { event: decode_lines, ..NONE },
        "sseclient" => Deviation { event: split_like_python, delivers_empty: true, ..NONE },
        "eventsource-client (crate)"
        | "eventsource-client (npm)"
        | "eventsource-parser"
        | "httpx-sse"
        | "httpx-sse async"
        | "launchdarkly-eventsource (npm)"
        | "launchdarkly-eventsource (PyPI)"
        | "reqwest-eventsource"
        | "sseclient-py" => Deviation { forgets_position: true, ..NONE },
        _ => NONE,
    }
}

/// Returns true if the client ends with an error when its connection is refused.
pub(crate) fn gives_up(client: &str) -> bool {
    client == "sseclient"
}

/// Returns the events that a client delivers.
pub(crate) fn expected(client: &str, connections: &[Connection]) -> Vec<Heard> {
    let deviation = of(client);
    let empty = Heard { kind: "message".into(), data: String::new() };
    let mut all = Vec::new();
    for connection in connections {
        if deviation.delivers_empty {
            all.push(empty.clone());
        }
        let lost = if deviation.forgets_position { connection.early } else { 0 };
        all.extend(connection.events[lost..].iter().map(|event| (deviation.event)(event.arrives())));
        if deviation.delivers_empty && connection.has_end {
            all.push(empty.clone());
        }
    }
    all
}

/// Strips all spaces at the beginning of each line, not only one, and all empty lines at the end.
fn strip_blanks(event: Heard) -> Heard {
    let lines: Vec<_> = event.data.split('\n').map(|line| line.trim_start_matches(' ')).collect();
    Heard { data: lines.join("\n").trim_end_matches('\n').into(), ..event }
}

/// Decodes each line as a text of its own, which removes a byte order mark at its beginning, and drops empty lines at
/// the beginning of the data.
fn decode_lines(event: Heard) -> Heard {
    let lines = event.data.split('\n').map(|line| line.strip_prefix('\u{feff}').unwrap_or(line));
    Heard { data: lines.fold(String::new(), append), ..event }
}

fn append(data: String, line: &str) -> String {
    if data.is_empty() { line.into() } else { data + "\n" + line }
}

/// Splits lines where `str.splitlines` of Python does, and reads each piece as a field.
fn split_like_python(event: Heard) -> Heard {
    const ENDS: [char; 9] = ['\n', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
    let (mut kind, mut data) = (event.kind, String::new());
    for line in event.data.split('\n') {
        for line in format!("data: {line}").split(ENDS) {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "data" => data = append(data, value),
                "event" => kind = value.into(),
                _ => {}
            }
        }
    }
    Heard { kind, data }
}
