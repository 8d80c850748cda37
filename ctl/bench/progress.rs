//! A progress line on stderr, if that is a terminal.
//!
//! A separate thread draws it, so that a stopped terminal does not delay the measurement.

use std::{
    io::{self, IsTerminal, Write},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

/// Time between two redraws.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long to wait at the end until the line is erased.
const ERASE: Duration = Duration::from_secs(1);
/// Width of the bar, in characters.
const WIDTH: usize = 30;

/// The progress line. Erased when dropped.
pub(super) struct Progress(Option<Drawing>);

struct Drawing {
    steps: Sender<Step>,
    /// Closed when the line is erased.
    erased: Receiver<()>,
}

struct Step {
    what: &'static str,
    began: Instant,
    takes: Duration,
}

impl Progress {
    pub(super) fn start() -> Progress {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if dumb || !io::stderr().is_terminal() {
            return Progress(None);
        }
        let ((steps, shown), (done, erased)) = (channel(), channel::<()>());
        let drawing = thread::Builder::new().spawn(move || {
            draw(&shown);
            drop(done);
        });
        Progress(drawing.is_ok().then_some(Drawing { steps, erased }))
    }

    /// Shows the next step, which takes about this long. A step without a duration has no bar.
    pub(super) fn show(&self, what: &'static str, takes: Duration) {
        if let Some(drawing) = &self.0 {
            let _ = drawing.steps.send(Step { what, began: Instant::now(), takes });
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(Drawing { steps, erased }) = self.0.take() {
            drop(steps);
            let _ = erased.recv_timeout(ERASE);
        }
    }
}

/// Draws the line until there are no more steps, then erases it. Ignores errors of the terminal.
fn draw(steps: &Receiver<Step>) {
    let mut step = steps.recv().ok();
    while let Some(Step { what, began, takes }) = &step {
        let _ = write!(io::stderr(), "\r\x1b[K{}", line(what, began.elapsed(), *takes));
        match steps.recv_timeout(INTERVAL) {
            Ok(next) => step = Some(next),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => step = None,
        }
    }
    let _ = write!(io::stderr(), "\r\x1b[K");
}

fn line(what: &str, elapsed: Duration, takes: Duration) -> String {
    if takes.is_zero() {
        return format!("{what} …");
    }
    let part = (elapsed.as_secs_f64() / takes.as_secs_f64()).min(1.0);
    let full = (0..WIDTH).filter(|index| (*index as f64) < part * WIDTH as f64).count();
    format!("[{}{}] {what}", "#".repeat(full), "-".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_and_stays_full() {
        let at = |seconds| line("x", Duration::from_secs(seconds), Duration::from_secs(30));
        assert_eq!(at(0), format!("[{}] x", "-".repeat(30)));
        assert_eq!(at(10), format!("[{}{}] x", "#".repeat(10), "-".repeat(20)));
        assert_eq!(at(31), format!("[{}] x", "#".repeat(30)));
        assert_eq!(line("x", Duration::ZERO, Duration::ZERO), "x …");
    }
}
