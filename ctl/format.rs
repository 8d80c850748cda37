//! How events are printed. They are collected and written in batches, each ending with a whole event.

use std::io;

use sse_bus::{
    EventId,
    protocol::{EventMessage, GAP, Gap, json, sse},
};

use crate::{
    cli::Format,
    output::{Output, visible},
};

/// Bytes that are collected before they are written, while more events are at hand.
const BATCH: usize = 64 << 10;

/// Prints events in one format.
pub(crate) struct Printer<'a> {
    output: &'a Output,
    /// For people without one.
    format: Option<Format>,
    buffer: Vec<u8>,
}

impl<'a> Printer<'a> {
    pub(crate) fn new(output: &'a Output, asked: Option<Format>) -> Printer<'a> {
        let format = asked.or((!output.people).then_some(Format::Json));
        Printer { output, format, buffer: Vec::new() }
    }

    /// Adds an event, and writes if there is enough.
    pub(crate) fn print(&mut self, event: &EventMessage) -> io::Result<()> {
        match self.format {
            None => self.for_people(event),
            Some(Format::Data) => {
                self.buffer.extend_from_slice(event.data.as_bytes());
                self.buffer.push(b'\n');
            }
            Some(Format::Json) => json::encode(event, &mut self.buffer),
            Some(Format::Sse) => sse::encode(event.id, event.kind.as_deref(), &event.data, &mut self.buffer),
        }
        if self.buffer.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    /// Tells of a gap: on stderr where the data stands alone, in the stream where it has room for it.
    pub(crate) fn gap(&mut self, gap: &Gap, id: EventId, time: u64) -> io::Result<()> {
        if matches!(self.format, None | Some(Format::Data)) {
            self.flush()?;
            warn(gap);
            return Ok(());
        }
        let data = serde_json::to_string(gap).unwrap_or_default();
        self.print(&EventMessage { id, topic: GAP.into(), kind: Some(GAP.into()), time, data })
    }

    /// Whether something waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let written = if self.buffer.is_empty() { Ok(()) } else { self.output.write(&self.buffer) };
        self.buffer.clear();
        written
    }

    /// The topic, the type if there is one, and the data, further lines of it indented.
    fn for_people(&mut self, event: &EventMessage) {
        let (bold, dim, plain) = if self.output.colour { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        let mut line = format!("{bold}{}{plain}", visible(&event.topic));
        if let Some(kind) = &event.kind {
            line.extend([" ", dim, "[", &visible(kind), "]", plain]);
        }
        for (number, text) in event.data.lines().enumerate() {
            line += if number == 0 { "  " } else { "\n    " };
            line += &visible(text);
        }
        line.push('\n');
        self.buffer.extend_from_slice(line.as_bytes());
    }
}

/// Says on stderr that events were missed.
pub(crate) fn warn(gap: &Gap) {
    let reason = serde_json::to_value(gap.reason).ok();
    let reason = reason.as_ref().and_then(|r| r.as_str()).unwrap_or("unknown");
    let missed = gap.missed.map_or_else(|| "an unknown number of events".into(), |n| crate::output::count(n, "event"));
    eprintln!("sse-busctl: missed {missed} ({reason}), {} to {}", gap.from, gap.to);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: Option<Format>, people: bool) -> String {
        let output = Output::plain(people);
        let mut printer = Printer::new(&output, format);
        let event = EventMessage {
            id: "k-7".parse().unwrap(),
            topic: "build/web".into(),
            kind: Some("done".into()),
            time: 5,
            data: "ok\n\x1b[2J".into(),
        };
        printer.print(&event).unwrap();
        String::from_utf8(printer.buffer).unwrap()
    }

    #[test]
    fn formats() {
        assert_eq!(printed(None, true), "build/web [done]  ok\n    \u{241b}[2J\n");
        assert_eq!(printed(Some(Format::Data), true), "ok\n\x1b[2J\n");
        let json = r#"{"id":"k-7","topic":"build/web","type":"done","time":5,"data":"ok\n\u001b[2J"}"#;
        assert_eq!(printed(None, false), format!("{json}\n"));
        assert_eq!(printed(Some(Format::Sse), false), "id: k-7\nevent: done\ndata: ok\ndata: \x1b[2J\n\n");
    }
}
