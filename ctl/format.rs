//! How events are printed. They are collected and written in batches, each ending with a whole event.

use std::io;

use sse_bus::{
    EventId,
    protocol::{EventMessage, GAP, Gap, sse},
};

use crate::{
    cli::Format,
    output::{Output, visible, visible_lines},
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
        let format = asked.or((!output.people()).then_some(Format::Json));
        Printer { output, format, buffer: Vec::new() }
    }

    /// Adds an event, and writes if there is enough.
    pub(crate) fn print(&mut self, event: &EventMessage) -> io::Result<()> {
        match self.format {
            None => self.for_people(event),
            Some(Format::Data) => {
                let data = if self.output.terminal { visible_lines(&event.data) } else { event.data.as_str().into() };
                self.buffer.extend_from_slice(data.as_bytes());
                self.buffer.push(b'\n');
            }
            Some(Format::Json) => self.output.encode(event, &mut self.buffer),
            Some(Format::Sse) => {
                let begin = self.buffer.len();
                sse::encode(event.id, event.kind.as_deref(), &event.data, &mut self.buffer);
                if self.output.terminal {
                    let block = String::from_utf8_lossy(&self.buffer[begin..]).into_owned();
                    self.buffer.truncate(begin);
                    self.buffer.extend_from_slice(visible_lines(&block).as_bytes());
                }
            }
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
        let mut event = EventMessage::new(id, GAP, data, time);
        event.kind = Some(GAP.into());
        self.print(&event)
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
    use sse_bus::Headers;

    use super::*;

    fn printed(format: Option<Format>, people: bool) -> String {
        let output = Output::plain(people);
        let mut printer = Printer::new(&output, format);
        let mut event = EventMessage::new("k-7".parse::<EventId>().unwrap(), "build/web", "ok\n\x1b[2J", 5);
        event.kind = Some("done".into());
        event.headers = Headers::parse([("Key", "7")]).unwrap();
        printer.print(&event).unwrap();
        String::from_utf8(printer.buffer).unwrap()
    }

    #[test]
    fn formats() {
        assert_eq!(printed(None, true), "build/web [done]  ok\n    \u{241b}[2J\n");
        assert_eq!(printed(Some(Format::Data), true), "ok\n\u{241b}[2J\n");
        assert_eq!(printed(Some(Format::Sse), true), "id: k-7\nevent: done\ndata: ok\ndata: \u{241b}[2J\n\n");
        assert_eq!(printed(Some(Format::Data), false), "ok\n\x1b[2J\n");
        let json =
            r#"{"id":"k-7","topic":"build/web","type":"done","time":5,"headers":{"key":"7"},"data":"ok\n\u001b[2J"}"#;
        assert_eq!(printed(None, false), format!("{json}\n"));
        assert_eq!(printed(Some(Format::Sse), false), "id: k-7\nevent: done\ndata: ok\ndata: \x1b[2J\n\n");
    }
}
