//! What the worker shows on stderr: lines of its commands, its own messages, and on a terminal a progress line below them.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
};

use terminal_size::{Width, terminal_size_of};

use crate::output::report;

/// Stderr, and stdout if both are the same terminal.
pub(super) struct Screen {
    /// Stderr is a terminal, which shows a progress line.
    has_progress: bool,
    is_quiet: bool,
    progress: Mutex<String>,
}

impl Screen {
    pub(super) fn new(is_quiet: bool) -> Screen {
        Screen { has_progress: io::stderr().is_terminal() && !is_quiet, is_quiet, progress: Mutex::default() }
    }

    pub(super) fn has_progress(&self) -> bool {
        self.has_progress
    }

    /// Returns true if what commands write to stdout would mix with the progress line.
    pub(super) fn shares_stdout(&self) -> bool {
        self.has_progress && io::stdout().is_terminal()
    }

    /// Reports a message of this program, unless the user wants no notices.
    pub(super) fn notice(&self, message: &str) {
        if !self.is_quiet {
            self.report(message);
        }
    }

    /// Reports a failure.
    pub(super) fn report(&self, message: &str) {
        self.above_progress(|| report(message));
    }

    /// Writes lines of a command to stderr.
    pub(super) fn write(&self, lines: &[u8]) {
        // Nobody may read it.
        self.above_progress(|| drop(io::stderr().write_all(lines)));
    }

    /// Writes lines of a command to stdout.
    pub(super) fn write_stdout(&self, lines: &[u8]) {
        self.above_progress(|| {
            let mut stdout = io::stdout().lock();
            drop(stdout.write_all(lines).and_then(|()| stdout.flush()));
        });
    }

    /// Replaces the progress line, or removes it if the text is empty.
    pub(super) fn progress(&self, line: String) {
        if self.has_progress {
            *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = line;
            self.above_progress(|| {});
        }
    }

    fn above_progress(&self, write: impl FnOnce()) {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.has_progress {
            return write();
        }
        let _ = io::stderr().write_all(b"\r\x1b[K");
        write();
        if !progress.is_empty() {
            let width = terminal_size_of(io::stderr()).map_or(80, |(Width(width), _)| usize::from(width));
            // A line that is as wide as the terminal would wrap.
            let line: String = progress.chars().take(width.saturating_sub(1)).collect();
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}
