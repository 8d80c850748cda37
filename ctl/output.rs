//! Output on stdout: tables and sentences on a terminal or with `--format text`, otherwise one JSON value per line.
//!
//! Text from other users (names, data) is printed to a terminal only with hidden characters made visible.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

use serde::Serialize;
use terminal_size::{Width, terminal_size_of};

use crate::{
    cli::Format,
    table::{Column, render, wrapped},
    visible::{escape, is_hidden, replaced, visible, visible_lines},
};

/// The style of output.
pub(crate) struct Output {
    /// Stdout is a terminal, which text from other users must not control.
    pub(crate) terminal: bool,
    /// ANSI colours are allowed.
    pub(crate) colour: bool,
    /// The format that the user requested.
    pub(crate) format: Option<Format>,
    /// Confirmations and notices are left out.
    pub(crate) is_quiet: bool,
    /// The columns in which text is shown, if they are limited.
    pub(crate) width: Option<usize>,
}

impl Output {
    pub(crate) fn new(format: Option<Format>, is_quiet: bool) -> Output {
        let terminal = io::stdout().is_terminal();
        let refused = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_text = format.is_none_or(|format| format == Format::Text);
        let colour = terminal && is_text && !dumb && !refused("NO_COLOR");
        Output { terminal, colour, format, is_quiet, width: width() }
    }

    #[cfg(test)]
    pub(crate) fn plain(people: bool, format: Option<Format>) -> Output {
        Output { terminal: people, colour: false, format, is_quiet: false, width: None }
    }

    /// Returns true if output is for people: with `--format text`, or on a terminal without `--format` and `--json`.
    pub(crate) fn people(&self) -> bool {
        self.format.map_or(self.terminal, |format| format == Format::Text)
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

    /// Writes a sentence for people, or a JSON line, unless the user wants no confirmations.
    pub(crate) fn confirm<T: Serialize>(&self, sentence: impl FnOnce() -> String, value: &T) -> io::Result<()> {
        if self.is_quiet { Ok(()) } else { self.print(sentence, value) }
    }

    /// Writes a sentence to a terminal at stderr, unless the user wants no notices.
    pub(crate) fn notice(&self, sentence: impl FnOnce() -> String) {
        if !self.is_quiet && io::stderr().is_terminal() {
            report(&sentence());
        }
    }

    /// Writes a sentence to stderr, unless the user wants no notices.
    pub(crate) fn warn(&self, sentence: &str) {
        if !self.is_quiet {
            report(sentence);
        }
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

    /// Writes a line of text for people and programs alike, or a JSON value if the user requested JSON.
    pub(crate) fn line<T: Serialize>(&self, line: &str, value: &T) -> io::Result<()> {
        if self.format == Some(Format::Json) {
            return self.print(String::new, value);
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
            let rows: Vec<_> = items.iter().map(|item| row(item).map(|cell| visible(&cell).into_owned())).collect();
            text = render(columns, &rows, self.width).into_bytes();
        }
        self.write(&text)
    }
}

/// Writes a message of this program to stderr: on a terminal without hidden characters and wrapped between words.
pub(crate) fn report(message: &str) {
    /// The width of the program's name.
    const INDENT: usize = 12;
    if !io::stderr().is_terminal() {
        eprintln!("sse-busctl: {message}");
        return;
    }
    let width = terminal_size_of(io::stderr()).map(|(Width(width), _)| width.into()).filter(|width| *width > 0);
    let lines: Vec<_> = visible_lines(message).split('\n').map(|line| wrapped(line, INDENT, width)).collect();
    eprintln!("sse-busctl: {}", lines.join("\n"));
}

/// Returns the width of the terminal at stdout. Without one it is the value of `COLUMNS`, which for example `watch`
/// sets, or unlimited.
fn width() -> Option<usize> {
    match terminal_size_of(io::stdout()) {
        Some((Width(width), _)) => Some(width.into()),
        None => std::env::var("COLUMNS").ok()?.parse().ok(),
    }
    .filter(|width| *width > 0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_on_a_terminal_has_the_same_value_without_hidden_characters() {
        let value = "\x1b\u{9b}\u{202e}\u{e0041}é";
        let (mut shown, mut piped) = (Vec::new(), Vec::new());
        Output::plain(true, None).encode(&value, &mut shown);
        Output::plain(false, None).encode(&value, &mut piped);
        assert_eq!(String::from_utf8(shown.clone()).unwrap(), "\"\\u001b\\u009b\\u202e\\udb40\\udc41é\"\n");
        assert_eq!(String::from_utf8(piped).unwrap(), "\"\\u001b\u{9b}\u{202e}\u{e0041}é\"\n");
        assert_eq!(serde_json::from_slice::<String>(&shown).unwrap(), value);
    }
}
