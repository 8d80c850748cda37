//! Prints events in the chosen format. Output is written in batches, which end between two events.

use std::io;

use sse_bus::{
    EventId,
    gap::{GAP, Gap},
    protocol::{EventMessage, sse},
};

use crate::{
    cli::Format,
    output::Output,
    times::Times,
    units::count,
    visible::{visible, visible_lines},
};

/// Bytes in the buffer at which it is written, even if more events are available already.
const BATCH: usize = 64 << 10;

/// Prints events in one format.
pub(crate) struct Printer<'a> {
    output: &'a Output,
    format: Format,
    times: Times,
    buffer: Vec<u8>,
}

impl<'a> Printer<'a> {
    /// Returns a printer in the requested format: by default text for people, JSON for programs.
    pub(crate) fn new(output: &'a Output, times: Times) -> Printer<'a> {
        let format = output.format.unwrap_or(if output.people() { Format::Text } else { Format::Json });
        Printer { output, format, times, buffer: Vec::new() }
    }

    /// Adds an event to the buffer, and writes the buffer if it has [`BATCH`] bytes.
    pub(crate) fn print(&mut self, event: &EventMessage) -> io::Result<()> {
        match self.format {
            Format::Text => self.for_people(event),
            Format::Data => {
                let data = if self.output.terminal { visible_lines(&event.data) } else { event.data.as_str().into() };
                self.buffer.extend_from_slice(data.as_bytes());
                self.buffer.push(b'\n');
            }
            Format::Json => self.output.encode(event, &mut self.buffer),
            Format::Sse => {
                let begin = self.buffer.len();
                sse::encode(event.id, event.event_type.as_deref(), &event.data, &mut self.buffer);
                if self.output.terminal {
                    let block = String::from_utf8_lossy(&self.buffer[begin..]).into_owned();
                    self.buffer.truncate(begin);
                    self.buffer.extend_from_slice(visible_lines(&block).as_bytes());
                }
            }
        }
        if self.buffer.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    /// Reports a gap: on stderr in the formats for people and for data alone, and as an event of the type `$gap` in the others.
    pub(crate) fn gap(&mut self, gap: &Gap, id: EventId, time: u64) -> io::Result<()> {
        if matches!(self.format, Format::Text | Format::Data) {
            self.flush()?;
            warn_of_gap(gap);
            return Ok(());
        }
        let data = serde_json::to_string(gap).unwrap_or_default();
        let mut event = EventMessage::new(id, GAP, data, time);
        event.event_type = Some(GAP.into());
        self.print(&event)
    }

    /// Returns true if nothing is buffered.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Writes the buffer and empties it, also if writing fails.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let written = if self.buffer.is_empty() { Ok(()) } else { self.output.write(&self.buffer) };
        self.buffer.clear();
        written
    }

    /// Adds a line for people to the buffer: the time, the topic, the type if there is one, and the data. Further lines of the
    /// data are indented.
    fn for_people(&mut self, event: &EventMessage) {
        let (bold, dim, plain) = if self.output.colour { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        let mut line = format!("{dim}{}{plain}  {bold}{}{plain}", self.times.format(event.time), visible(&event.topic));
        if let Some(event_type) = &event.event_type {
            line.extend([" ", dim, "[", &visible(event_type), "]", plain]);
        }
        for (number, text) in event.data.lines().enumerate() {
            line += if number == 0 { "  " } else { "\n    " };
            line += &visible(text);
        }
        line.push('\n');
        self.buffer.extend_from_slice(line.as_bytes());
    }
}

/// Reports on stderr that events were missed: how many, why, and their ids.
pub(crate) fn warn_of_gap(gap: &Gap) {
    let reason = gap.reason.as_str();
    let missed = gap.missed.map_or_else(|| "an unknown number of events".into(), |n| count(n, "event"));
    eprintln!("sse-busctl: missed {missed} ({reason}), {} to {}", gap.from, gap.to);
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use sse_bus::Headers;

    use super::*;

    fn printed(format: Option<Format>, terminal: bool) -> String {
        let output = Output::plain(terminal, format);
        let mut printer = Printer::new(&output, Times::Zone(TimeZone::UTC));
        let mut event = EventMessage::new("k-7".parse::<EventId>().unwrap(), "build/web", "ok\n\x1b[2J", 5);
        event.event_type = Some("done".into());
        event.headers = Headers::parse([("Key", "7")]).unwrap();
        printer.print(&event).unwrap();
        String::from_utf8(printer.buffer).unwrap()
    }

    #[test]
    fn each_format_is_printed_with_visible_characters_on_a_terminal() {
        let text = "1970-01-01 00:00:00Z  build/web [done]  ok\n    \u{241b}[2J\n";
        assert_eq!(printed(None, true), text);
        assert_eq!(printed(Some(Format::Text), false), text);
        assert_eq!(printed(Some(Format::Data), true), "ok\n\u{241b}[2J\n");
        assert_eq!(printed(Some(Format::Sse), true), "id: k-7\nevent: done\ndata: ok\ndata: \u{241b}[2J\n\n");
        assert_eq!(printed(Some(Format::Data), false), "ok\n\x1b[2J\n");
        let json =
            r#"{"id":"k-7","topic":"build/web","type":"done","time":5,"headers":{"key":"7"},"data":"ok\n\u001b[2J"}"#;
        assert_eq!(printed(None, false), format!("{json}\n"));
        assert_eq!(printed(Some(Format::Json), true), format!("{json}\n"));
        assert_eq!(printed(Some(Format::Sse), false), "id: k-7\nevent: done\ndata: ok\ndata: \x1b[2J\n\n");
    }
}
