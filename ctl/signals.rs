//! SIGINT and SIGTERM (Ctrl-C on Windows).
//!
//! A separate thread watches them, because the program may be blocked in a write to stdout. The first signal asks the
//! program to stop. It ends the process after a second signal or, unless the program waits for a child, after one
//! second. A program that kills its children at the second signal has one second for it.

use std::{future, io, sync::mpsc, thread, time::Duration};

use tokio::{sync::watch, time::timeout};

use crate::exit::Exit;

/// Time between the first signal and the forced end of the process.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// What forces the process to end after the first signal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Force {
    /// A second signal, or [`PATIENCE`].
    Time,
    /// A second signal.
    Signal,
    /// A third signal, or [`PATIENCE`] after the second.
    TimeAfterSignal,
}

/// Notifies when to stop.
#[derive(Clone)]
pub(crate) struct Signals {
    /// Number of signals so far.
    received: watch::Receiver<u8>,
}

impl Signals {
    /// Starts to watch for signals. Without `impatient` only a second signal forces the process to end.
    pub(crate) fn watch(impatient: bool) -> Signals {
        Signals::start(if impatient { Force::Time } else { Force::Signal })
    }

    /// Starts to watch for signals, of which the program handles two.
    pub(crate) fn watch_two() -> Signals {
        Signals::start(Force::TimeAfterSignal)
    }

    fn start(force: Force) -> Signals {
        let (sender, received) = watch::channel(0);
        let (ready, is_ready) = mpsc::channel();
        let watcher = move || -> io::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut signals = Source::new()?;
                let _ = ready.send(());
                signals.next().await;
                let _ = sender.send(1);
                if force == Force::TimeAfterSignal {
                    signals.next().await;
                    let _ = sender.send(2);
                }
                let patience = if force == Force::Signal { Duration::MAX } else { PATIENCE };
                let _ = timeout(patience, signals.next()).await;
                std::process::exit(Exit::Done as i32)
            })
        };
        // Without the thread signals keep their default effect.
        if thread::Builder::new().name("signals".into()).spawn(watcher).is_ok() {
            let _ = is_ready.recv();
        }
        Signals { received }
    }

    /// Waits for the first signal. Cancel-safe; after the signal every call returns at once.
    pub(crate) async fn stop(&mut self) {
        self.wait_for(1).await;
    }

    /// Waits for the second signal, as [`stop`](Self::stop) for the first.
    pub(crate) async fn second(&mut self) {
        self.wait_for(2).await;
    }

    async fn wait_for(&mut self, signals: u8) {
        if self.received.wait_for(|received| *received >= signals).await.is_err() {
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
