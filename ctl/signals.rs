//! SIGINT and SIGTERM (Ctrl-C on Windows), in one place.
//!
//! They are watched by a thread of their own, because the program may be stuck in a write to a stdout that nobody reads:
//! the first signal asks the program to end; a second one, or (if it need not wait for a child) a second's wait, ends
//! it.

use std::{future, io, sync::mpsc, thread, time::Duration};

use tokio::{sync::watch, time::timeout};

use crate::exit::Exit;

/// From the first signal until the process is ended.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Tells when to stop.
#[derive(Clone)]
pub(crate) struct Signals {
    stop: watch::Receiver<bool>,
}

impl Signals {
    /// Begins to watch. Without `impatient` only a second signal ends the process by force.
    pub(crate) fn watch(impatient: bool) -> Signals {
        let (sender, stop) = watch::channel(false);
        let (ready, is_ready) = mpsc::channel();
        let watcher = move || -> io::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut signals = Source::new()?;
                let _ = ready.send(());
                signals.next().await;
                let _ = sender.send(true);
                let patience = if impatient { PATIENCE } else { Duration::MAX };
                let _ = timeout(patience, signals.next()).await;
                std::process::exit(Exit::Done as i32)
            })
        };
        // If there can be no watcher, signals do what they do by default.
        if thread::Builder::new().name("signals".into()).spawn(watcher).is_ok() {
            let _ = is_ready.recv();
        }
        Signals { stop }
    }

    /// Waits for the first signal. Cancel-safe; ready again and again afterwards.
    pub(crate) async fn stop(&mut self) {
        if self.stop.wait_for(|stop| *stop).await.is_err() {
            future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
struct Source {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Source {
    fn new() -> io::Result<Source> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Source { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Source(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Source {
    fn new() -> io::Result<Source> {
        tokio::signal::windows::ctrl_c().map(Source)
    }

    async fn next(&mut self) {
        let _ = self.0.recv().await;
    }
}
