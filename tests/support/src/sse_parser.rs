//! A parser of event streams, written from the HTML standard and from nothing else:
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>.

/// An event as a browser dispatches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatched {
    pub id: String,
    /// `None` where a browser reports `message`.
    pub kind: Option<String>,
    pub data: String,
}

/// Parses a stream. Returns the dispatched events, and the text after the last one.
pub fn parse(stream: &str) -> (Vec<Dispatched>, &str) {
    let (mut id, mut kind, mut data) = (String::new(), String::new(), String::new());
    let mut dispatched = Vec::new();
    let (mut rest, mut pending) = (stream, stream);
    // Lines end with CRLF, LF or CR; an incomplete line is not parsed.
    while let Some(end) = rest.find(['\r', '\n']) {
        let line = &rest[..end];
        rest = rest[end..].strip_prefix("\r\n").unwrap_or(&rest[end + 1..]);
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                if let Some(data) = data.strip_suffix('\n') {
                    let kind = (!kind.is_empty()).then(|| kind.clone());
                    dispatched.push(Dispatched { id: id.clone(), kind, data: data.into() });
                }
                data.clear();
                kind.clear();
                pending = rest;
            }
            // A comment alone leaves nothing pending.
            "" if line.len() + 1 == pending.len() - rest.len() => pending = rest,
            "event" => kind = value.into(),
            "data" => {
                data.push_str(value);
                data.push('\n');
            }
            "id" if !value.contains('\0') => id = value.into(),
            _ => {}
        }
    }
    (dispatched, pending)
}
