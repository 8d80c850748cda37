//! A parser of event streams according to the standard, for a whole stream at once.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The last id of the stream so far.
    pub id: String,
    /// `message` if the stream sets none.
    pub kind: String,
    pub data: String,
}

/// Every complete event of the stream.
///
/// # Panics
///
/// The stream is not UTF-8.
pub fn events(stream: &[u8]) -> Vec<Event> {
    let text = std::str::from_utf8(stream).expect("a stream is UTF-8");
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut data, mut id, mut kind) = (Vec::new(), None::<String>, "", "");
    for line in text.split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                let kind = if kind.is_empty() { "message" } else { std::mem::take(&mut kind) };
                events.extend(data.take().map(|data| Event { id: id.into(), kind: kind.into(), data }));
            }
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            "id" => id = value,
            "event" => kind = value,
            _ => {}
        }
    }
    events
}

/// The data of every complete event of the stream.
///
/// # Panics
///
/// The stream is not UTF-8.
pub fn data_of_events(stream: &[u8]) -> Vec<String> {
    events(stream).into_iter().map(|event| event.data).collect()
}

#[cfg(test)]
mod tests {
    use super::data_of_events;

    #[test]
    fn reads_what_the_standard_shows() {
        let stream =
            "\u{feff}: comment\n\ndata: YHOO\ndata: +2\r\ndata:10\n\nid\ndata\n\ndata:  two\r\revent: x\n\ndata: cut";
        assert_eq!(data_of_events(stream.as_bytes()), ["YHOO\n+2\n10", "", " two"]);
    }
}
