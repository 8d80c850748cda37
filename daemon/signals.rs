//! Signals: SIGTERM and SIGINT stop the daemon, SIGHUP has it read its configuration again, and bind the
//! local socket again if its file is lost. On Windows Ctrl-C, Ctrl-Break and the end of its console stop it.
//!
//! No stream is dropped for a new configuration. What cannot change while the daemon runs stays, and the log names it. A
//! daemon that was started on a terminal stops when that is closed.

use std::sync::Arc;

use tracing::{info, warn};

use crate::{config::Config, logging::Log, server::Daemon};

/// Reads the configuration again, and goes on with it. One that is wrong changes nothing.
#[cfg_attr(windows, expect(dead_code, reason = "there is no signal for it"))]
fn reload(daemon: &Daemon) -> Result<(), String> {
    let read = Config::read(daemon.config().held.clone()).map_err(|e| e.to_string())?;
    let filter = Log::parse(&read.log)?;
    let (config, kept) = read.for_running(&daemon.config());
    daemon.configure(config);
    daemon.log.set(filter);
    if kept.is_empty() {
        info!("read the configuration again");
    } else {
        warn!(kept = kept.join(", "), "read the configuration again; what is kept changes with a restart only");
    }
    Ok(())
}

#[cfg(unix)]
pub(crate) use self::unix::Signals;

#[cfg(unix)]
mod unix {
    use std::{
        future::pending,
        io::{self, IsTerminal},
    };

    use tokio::{
        signal::unix::{Signal, SignalKind, signal},
        task::{JoinHandle, spawn_blocking},
    };
    use tracing::error;

    use super::{Arc, Daemon, info, reload};
    use crate::service_manager;

    /// The signals that the process listens to.
    pub(crate) struct Signals {
        terminate: Signal,
        interrupt: Signal,
        hangup: Signal,
        /// Whether the daemon was started on a terminal.
        on_terminal: bool,
    }

    impl Signals {
        pub(crate) fn listen() -> io::Result<Signals> {
            // A write above the limit of file size fails then as on a full disk; by default this signal ends the process.
            // The handler stays.
            let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
            Ok(Signals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hangup: signal(SignalKind::hangup())?,
                on_terminal: io::stdin().is_terminal(),
            })
        }

        /// Does what signals say, until the daemon stops.
        pub(crate) async fn serve(mut self, daemon: Arc<Daemon>) {
            // In a thread of its own kind: the disk with the configuration may hang, and SIGTERM counts all the same.
            let mut reloading: Option<JoinHandle<()>> = None;
            loop {
                tokio::select! {
                    _ = self.terminate.recv() => info!("SIGTERM: stopping"),
                    _ = self.interrupt.recv() => info!("SIGINT: stopping"),
                    _ = self.hangup.recv(), if reloading.is_none() => {
                        // What was closed is no terminal any more.
                        if !self.on_terminal || io::stdin().is_terminal() {
                            daemon.check_socket.notify_one();
                            let daemon = daemon.clone();
                            reloading = Some(spawn_blocking(move || reload_as_service(&daemon)));
                            continue;
                        }
                        info!("the terminal is closed: stopping");
                    }
                    () = finished(&mut reloading) => {
                        reloading = None;
                        continue;
                    }
                    () = daemon.stop.cancelled() => return,
                }
                return daemon.begin_to_stop();
            }
        }
    }

    /// Reads the configuration again, and keeps the service manager informed.
    fn reload_as_service(daemon: &Daemon) {
        service_manager::reloading();
        if let Err(error) = reload(daemon) {
            error!("SIGHUP: {error}; the daemon goes on as it was");
        }
        service_manager::ready();
    }

    /// Ends with the task, if there is one. A panic in it is logged already.
    async fn finished(task: &mut Option<JoinHandle<()>>) {
        match task {
            Some(task) => drop(task.await),
            None => pending().await,
        }
    }
}

#[cfg(windows)]
pub(crate) use self::windows::Signals;

#[cfg(windows)]
mod windows {
    use std::io;

    use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, ctrl_break, ctrl_c, ctrl_close};

    use super::{Arc, Daemon, info};

    /// What the console tells the process. Windows waits 5 s for whoever is told that the console is closed.
    pub(crate) struct Signals {
        interrupt: CtrlC,
        terminate: CtrlBreak,
        close: CtrlClose,
    }

    impl Signals {
        pub(crate) fn listen() -> io::Result<Signals> {
            Ok(Signals { interrupt: ctrl_c()?, terminate: ctrl_break()?, close: ctrl_close()? })
        }

        /// Stops the daemon when it is told to.
        pub(crate) async fn serve(mut self, daemon: Arc<Daemon>) {
            tokio::select! {
                _ = self.interrupt.recv() => info!("Ctrl-C: stopping"),
                _ = self.terminate.recv() => info!("Ctrl-Break: stopping"),
                _ = self.close.recv() => info!("the console is closed: stopping"),
                () = daemon.stop.cancelled() => {}
            }
            daemon.begin_to_stop();
        }
    }
}
