//! What goes to stdout: tables and sentences for people on a terminal, one JSON value a line otherwise.
//!
//! Text from others (names, data) reaches a terminal only with its control characters made visible.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// Where output goes, and for whom.
pub(crate) struct Output {
    /// For people on a terminal, and not for programs.
    pub(crate) people: bool,
    /// ANSI colours may be used.
    pub(crate) colour: bool,
    /// JSON was asked for by name.
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Output {
        let people = !json && io::stdout().is_terminal();
        let refused = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Output { people, colour: people && !dumb && !refused("NO_COLOR"), json }
    }

    #[cfg(test)]
    pub(crate) fn plain(people: bool) -> Output {
        Output { people, colour: false, json: false }
    }

    /// Writes to stdout as it is.
    #[allow(clippy::unused_self)] // stdout is reached through here only
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// A sentence for people, or a JSON line.
    pub(crate) fn say<T: Serialize>(&self, sentence: impl FnOnce() -> String, value: &T) -> io::Result<()> {
        let mut line = Vec::new();
        if self.people {
            line.extend_from_slice(sentence().as_bytes());
            line.push(b'\n');
        } else {
            sse_bus::protocol::json::encode(value, &mut line);
        }
        self.write(&line)
    }

    /// A line of text for people and programs alike; a JSON string only with `--json`.
    pub(crate) fn line(&self, line: &str) -> io::Result<()> {
        if self.json {
            return self.say(String::new, &line);
        }
        self.write(format!("{line}\n").as_bytes())
    }

    /// A table for people, or a JSON line for each item. `empty` is said on stderr in place of an empty table.
    pub(crate) fn list<T: Serialize, const N: usize>(
        &self,
        items: &[T],
        columns: &[Column; N],
        row: impl Fn(&T) -> [String; N],
        empty: &str,
    ) -> io::Result<()> {
        let mut text = Vec::new();
        if !self.people {
            for item in items {
                sse_bus::protocol::json::encode(item, &mut text);
            }
        } else if items.is_empty() {
            eprintln!("{empty}");
        } else {
            text = table(items, columns, row);
        }
        self.write(&text)
    }

    /// A table for people, or one JSON list of all items, where they are parts of one thing.
    pub(crate) fn whole<T: Serialize, const N: usize>(
        &self,
        items: &[T],
        columns: &[Column; N],
        row: impl Fn(&T) -> [String; N],
    ) -> io::Result<()> {
        if !self.people {
            return self.say(String::new, &items);
        }
        self.write(&table(items, columns, row))
    }
}

fn table<T, const N: usize>(items: &[T], columns: &[Column; N], row: impl Fn(&T) -> [String; N]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(columns.iter().map(|column| column.title));
    table.add_rows(items.iter().map(|item| row(item).map(|cell| visible(&cell).into_owned())));
    for (index, shown) in columns.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if shown.number {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    for line in table.lines() {
        text.extend_from_slice(line.trim_end().as_bytes());
        text.push(b'\n');
    }
    text
}

/// Waits until nobody reads stdout any more. Where that cannot be known, the next write tells.
#[cfg(target_os = "linux")]
pub(crate) async fn unread() {
    use std::os::fd::AsFd;
    use tokio::{io::Interest, net::unix::pipe::Sender};
    // Unchecked leaves stdout blocking, as whoever shares it expects. A file cannot be watched, and needs no reader.
    let watched = io::stdout().as_fd().try_clone_to_owned().and_then(Sender::from_owned_fd_unchecked);
    match watched {
        Ok(stdout) => drop(stdout.ready(Interest::ERROR).await),
        Err(_) => std::future::pending().await,
    }
}

/// Waits until nobody reads stdout any more. Where that cannot be known, the next write tells.
#[cfg(not(target_os = "linux"))]
pub(crate) async fn unread() {
    std::future::pending::<()>().await;
}

/// A column of a table.
pub(crate) struct Column {
    title: &'static str,
    number: bool,
}

/// A column of text.
pub(crate) const fn text(title: &'static str) -> Column {
    Column { title, number: false }
}

/// A column of numbers.
pub(crate) const fn number(title: &'static str) -> Column {
    Column { title, number: true }
}

/// The text with control characters made visible, so that nobody else's data drives the terminal.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\t' => shown.push(c),
            // Unicode has a picture for each ASCII control character.
            '\0'..='\x1f' => shown.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}')),
            c if c.is_control() => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
    }
    shown.into()
}

/// A number of bytes in the largest fitting unit.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// How long ago a time (in milliseconds since 1970) was, in its two largest units.
pub(crate) fn ago(time: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match now.saturating_sub(Duration::from_millis(time)) {
        age if age < Duration::from_secs(1) => "now".into(),
        age => format!("{} ago", duration(age)),
    }
}

/// A duration in whole seconds, its two largest units.
pub(crate) fn duration(duration: Duration) -> String {
    let whole = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    whole.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// `1 event`, `2 events`.
pub(crate) fn count(n: u64, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        assert_eq!(visible("plain\ttext é"), "plain\ttext é");
        assert_eq!(visible("\x1b[31mred\x07\u{9b}\x7f"), "\u{241b}[31mred\u{2407}\u{fffd}\u{fffd}");
    }

    #[test]
    fn sizes_and_durations_are_short() {
        assert_eq!([size(0), size(1023), size(1536), size(64 << 20)], ["0 B", "1023 B", "1.5 KiB", "64.0 MiB"]);
        assert_eq!(duration(Duration::from_secs(90_061)), "1day 1h");
        assert_eq!([count(1, "event"), count(0, "event")], ["1 event", "0 events"]);
    }
}
