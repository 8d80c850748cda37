//! SIGINT and SIGTERM (Ctrl-C on Windows).
//!
//! A separate thread watches them, because the program may be blocked in a write to stdout. The first signal asks the
//! program to stop. It ends the process after a second signal or, unless the program waits for a child, after one
//! second.

use std::{future, io, sync::mpsc, thread, time::Duration};

use tokio::{sync::watch, time::timeout};

use crate::exit::Exit;

/// Time between the first signal and the forced end of the process.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Notifies when to stop.
#[derive(Clone)]
pub(crate) struct Signals {
    stop: watch::Receiver<bool>,
}

impl Signals {
    /// Starts to watch for signals. Without `impatient` only a second signal forces the process to end.
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
        // Without the thread signals keep their default effect.
        if thread::Builder::new().name("signals".into()).spawn(watcher).is_ok() {
            let _ = is_ready.recv();
        }
        Signals { stop }
    }

    /// Waits for the first signal. Cancel-safe; after the signal every call returns at once.
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
