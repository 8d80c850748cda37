//! Forwards the output of a command by whole lines, so that those of several commands do not mix, and remembers the last line.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::screen::Screen;

/// A longer line is forwarded in parts.
const LINE_MAX: usize = 8 << 10;

/// Bytes requested by one read.
const READ_SIZE: usize = 4 << 10;

/// Where output is forwarded to.
#[derive(Clone, Copy)]
pub(super) enum To {
    Stdout,
    Stderr,
}

/// The output of a command.
pub(super) struct Forward<R> {
    pipe: Option<R>,
    screen: Arc<Screen>,
    to: To,
    /// Bytes that were not forwarded yet.
    buffer: Vec<u8>,
    /// The last line that is not blank.
    last: Vec<u8>,
}

impl<R: AsyncRead + Unpin + Send + 'static> Forward<R> {
    pub(super) fn new(pipe: Option<R>, screen: &Arc<Screen>, to: To) -> Forward<R> {
        Forward { pipe, screen: screen.clone(), to, buffer: Vec::new(), last: Vec::new() }
    }

    /// Forwards everything until the command and all processes that it has started have closed the output. Cancel-safe.
    pub(super) async fn run(&mut self) {
        while let Some(pipe) = &mut self.pipe {
            self.buffer.reserve(READ_SIZE);
            if !matches!(pipe.read_buf(&mut self.buffer).await, Ok(read) if read > 0) {
                self.pipe = None;
            }
            let end = match self.buffer.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => end + 1,
                None if self.buffer.len() >= LINE_MAX => self.buffer.len(),
                None => 0,
            };
            self.forward(end);
            if self.pipe.is_none() && !self.buffer.is_empty() {
                self.buffer.push(b'\n');
                self.forward(self.buffer.len());
            }
        }
    }

    fn forward(&mut self, end: usize) {
        if end == 0 {
            return;
        }
        let whole = &self.buffer[..end];
        match self.to {
            To::Stdout => self.screen.write_stdout(whole),
            To::Stderr => self.screen.write(whole),
        }
        let is_text = |line: &&[u8]| !line.trim_ascii().is_empty();
        if let Some(last) = whole.split(|byte| *byte == b'\n').rfind(is_text) {
            self.last = last.to_vec();
        }
        self.buffer.drain(..end);
    }

    /// Returns the last line.
    pub(super) fn last_line(&self) -> String {
        String::from_utf8_lossy(self.last.trim_ascii()).into_owned()
    }

    /// Continues in the background, if a process still has the output.
    pub(super) fn detach(mut self) {
        if self.pipe.is_some() {
            tokio::spawn(async move { self.run().await });
        }
    }
}
