//! Output on stdout: tables and sentences on a terminal, otherwise one JSON value per line.
//!
//! Text from other users (names, data) is printed to a terminal only with hidden characters made visible.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::visible::{escape, is_hidden, replaced, visible};

/// The style of output.
pub(crate) struct Output {
    /// Stdout is a terminal, which text from other users must not control.
    pub(crate) terminal: bool,
    /// ANSI colours are allowed.
    pub(crate) colour: bool,
    /// The user requested JSON with `--json`.
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

    /// Returns true if output is for people: on a terminal and without `--json`.
    pub(crate) fn people(&self) -> bool {
        self.terminal && !self.json
    }

    /// Writes bytes to stdout unchanged.
    #[allow(clippy::unused_self)] // all output on stdout goes through this type
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// Writes a sentence for people, or a JSON line.
    pub(crate) fn print<T: Serialize>(&self, sentence: impl FnOnce() -> String, value: &T) -> io::Result<()> {
        let mut line = Vec::new();
        if self.people() {
            line.extend_from_slice(sentence().as_bytes());
            line.push(b'\n');
        } else {
            self.encode(value, &mut line);
        }
        self.write(&line)
    }

    /// Appends a JSON line. On a terminal hidden characters are escaped, which keeps the value the same.
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

    /// Writes a line of text for people and programs alike, or a JSON string with `--json`.
    pub(crate) fn line(&self, line: &str) -> io::Result<()> {
        if self.json {
            return self.print(String::new, &line);
        }
        self.write(format!("{line}\n").as_bytes())
    }

    /// Writes a table for people, or a JSON line per item. Instead of an empty table `empty` is printed on stderr.
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

    /// Writes a table for people, or one JSON array of all items.
    pub(crate) fn whole<T: Serialize, const N: usize>(
        &self,
        items: &[T],
        columns: &[Column; N],
        row: impl Fn(&T) -> [String; N],
    ) -> io::Result<()> {
        if !self.people() {
            return self.print(String::new, &items);
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

/// Waits until the reader of stdout has closed it. Pending forever if that cannot be detected; then the next write
/// fails.
#[cfg(target_os = "linux")]
pub(crate) async fn unread() {
    use std::os::fd::AsFd;
    use tokio::{io::Interest, net::unix::pipe::Sender};
    // Unchecked keeps stdout blocking, as processes that share it expect. A file cannot be watched and has no reader.
    let watched = io::stdout().as_fd().try_clone_to_owned().and_then(Sender::from_owned_fd_unchecked);
    match watched {
        Ok(stdout) => drop(stdout.ready(Interest::ERROR).await),
        Err(_) => std::future::pending().await,
    }
}

/// Waits until the reader of stdout has closed it. Pending forever if that cannot be detected; then the next write
/// fails.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_on_a_terminal_has_the_same_value_without_hidden_characters() {
        let value = "\x1b\u{9b}\u{202e}\u{e0041}é";
        let (mut shown, mut piped) = (Vec::new(), Vec::new());
        Output::plain(true).encode(&value, &mut shown);
        Output::plain(false).encode(&value, &mut piped);
        assert_eq!(String::from_utf8(shown.clone()).unwrap(), "\"\\u001b\\u009b\\u202e\\udb40\\udc41é\"\n");
        assert_eq!(String::from_utf8(piped).unwrap(), "\"\\u001b\u{9b}\u{202e}\u{e0041}é\"\n");
        assert_eq!(serde_json::from_slice::<String>(&shown).unwrap(), value);
    }
}
