//! One line on stderr that says what is being measured and how far that is, while stderr is a terminal.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

/// How often the line is drawn.
const INTERVAL: Duration = Duration::from_millis(100);
/// Characters of the bar.
const WIDTH: usize = 30;

/// The line. Goes away when dropped.
pub(super) struct Progress(Option<(Arc<Mutex<Step>>, JoinHandle<()>)>);

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
        let step = Arc::new(Mutex::new(Step { what: "", began: Instant::now(), takes: Duration::ZERO }));
        let shown = step.clone();
        let drawing = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(INTERVAL);
            loop {
                ticks.tick().await;
                draw(&shown);
            }
        });
        Progress(Some((step, drawing)))
    }

    /// Goes on with something that takes about so long; with no time it has no bar.
    pub(super) fn show(&self, what: &'static str, takes: Duration) {
        if let Some((step, _)) = &self.0 {
            *step.lock().unwrap_or_else(PoisonError::into_inner) = Step { what, began: Instant::now(), takes };
            draw(step);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((_, drawing)) = &self.0 {
            drawing.abort();
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Draws the line. A terminal that cannot be written to does without.
fn draw(step: &Mutex<Step>) {
    let step = step.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = write!(io::stderr(), "\r\x1b[K{}", line(step.what, step.began.elapsed(), step.takes));
}

fn line(what: &str, elapsed: Duration, takes: Duration) -> String {
    if takes.is_zero() {
        return format!("{what} …");
    }
    let part = (elapsed.as_secs_f64() / takes.as_secs_f64()).min(1.0);
    let full = (0..WIDTH).filter(|place| (*place as f64) < part * WIDTH as f64).count();
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
