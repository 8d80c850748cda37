//! What goes to stdout: tables and sentences for people on a terminal, one JSON value a line otherwise.
//!
//! Text from others (names, data) reaches a terminal only with its control characters made visible.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// Where output goes, and for whom.
pub(crate) struct Output {
    /// On a terminal, which other people's text must not drive.
    pub(crate) terminal: bool,
    /// ANSI colours may be used.
    pub(crate) colour: bool,
    /// JSON was asked for by name.
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Output {
        let terminal = io::stdout().is_terminal();
        let refused = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Output { terminal, colour: terminal && !json && !dumb && !refused("NO_COLOR"), json }
    }

    #[cfg(test)]
    pub(crate) fn plain(people: bool) -> Output {
        Output { terminal: people, colour: false, json: false }
    }

    /// For people on a terminal, and not for programs.
    pub(crate) fn people(&self) -> bool {
        self.terminal && !self.json
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
        if self.people() {
            line.extend_from_slice(sentence().as_bytes());
            line.push(b'\n');
        } else {
            self.encode(value, &mut line);
        }
        self.write(&line)
    }

    /// Adds a JSON line. On a terminal characters that are not shown are escaped, as JSON allows everywhere.
    pub(crate) fn encode<T: Serialize>(&self, value: &T, out: &mut Vec<u8>) {
        let begin = out.len();
        sse_bus::protocol::json::encode(value, out);
        if self.terminal
            && let Ok(line) = std::str::from_utf8(&out[begin..])
            && let Cow::Owned(escaped) = replaced(line, |c| is_hidden(c) && c != '\n', escape)
        {
            out.truncate(begin);
            out.extend_from_slice(escaped.as_bytes());
        }
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
        if !self.people() {
            for item in items {
                self.encode(item, &mut text);
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
        if !self.people() {
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

/// The text with hidden characters made visible, so that nobody else's data drives the terminal or reads as what it is not.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    replaced(text, |c| is_hidden(c) && c != '\t', show)
}

/// The same for a text of several lines.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| is_hidden(c) && !matches!(c, '\t' | '\n'), show)
}

/// Returns true for characters that are obeyed or not shown: control characters, those that change the direction of text
/// (bidi), and those without a width. Variation selectors are none of them: emoji have them.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn replaced(text: &str, is_replaced: impl Fn(char) -> bool, replace: fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(&is_replaced) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_replaced(c) { replace(c, &mut shown) } else { shown.push(c) }
    }
    shown.into()
}

/// Writes the picture that Unicode has for each ASCII control character, else the character's number.
fn show(c: char, out: &mut String) {
    match c {
        '\0'..='\x1f' => out.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}')),
        '\x7f' => out.push('\u{2421}'),
        c => {
            let _ = write!(out, "<U+{:04X}>", u32::from(c));
        }
    }
}

/// Writes a character as JSON may have it in a string.
fn escape(c: char, out: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = write!(out, "\\u{unit:04x}");
    }
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
        assert_eq!(visible("\x1b[31mred\x07\u{9b}\x7f"), "\u{241b}[31mred\u{2407}<U+009B>\u{2421}");
        assert_eq!(visible("a\u{202e}b\u{200b}c\u{e0041}\n"), "a<U+202E>b<U+200B>c<U+E0041>\u{240a}");
        assert_eq!(visible_lines("a\r\n\tb"), "a\u{240d}\n\tb");
        assert_eq!(visible("❤\u{fe0f} مرحبا"), "❤\u{fe0f} مرحبا");
    }

    #[test]
    fn json_on_a_terminal_is_the_same_value_without_hidden_characters() {
        let value = "\x1b\u{9b}\u{202e}\u{e0041}é";
        let (mut shown, mut piped) = (Vec::new(), Vec::new());
        Output::plain(true).encode(&value, &mut shown);
        Output::plain(false).encode(&value, &mut piped);
        assert_eq!(String::from_utf8(shown.clone()).unwrap(), "\"\\u001b\\u009b\\u202e\\udb40\\udc41é\"\n");
        assert_eq!(String::from_utf8(piped).unwrap(), "\"\\u001b\u{9b}\u{202e}\u{e0041}é\"\n");
        assert_eq!(serde_json::from_slice::<String>(&shown).unwrap(), value);
    }

    #[test]
    fn sizes_and_durations_are_short() {
        assert_eq!([size(0), size(1023), size(1536), size(64 << 20)], ["0 B", "1023 B", "1.5 KiB", "64.0 MiB"]);
        assert_eq!(duration(Duration::from_secs(90_061)), "1day 1h");
        assert_eq!([count(1, "event"), count(0, "event")], ["1 event", "0 events"]);
    }
}
