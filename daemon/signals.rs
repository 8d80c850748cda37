//! Signals: SIGTERM and SIGINT stop the daemon; SIGHUP makes it read its configuration again, and bind the local socket again
//! if its file was removed. On Windows Ctrl-C, Ctrl-Break and closing the console stop it.
//!
//! No stream ends for a new configuration. Settings that cannot change while the daemon runs keep their values, and the log
//! names them. A daemon that was started on a terminal stops when the terminal is closed.

use std::sync::Arc;

use tracing::{info, warn};

use crate::{
    config::{Config, ConfigError, Given},
    context::Daemon,
};

/// Why the configuration cannot be read again.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Flags(#[from] clap::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Reads the configuration again and puts it into effect. An invalid one changes nothing.
#[cfg_attr(windows, expect(dead_code, reason = "there is no signal for it"))]
fn reload(daemon: &Daemon) -> Result<(), ReloadError> {
    let given = Given::parse()?;
    let read = Config::read(&given, daemon.config().inherited.clone())?;
    let (config, kept) = read.for_running(&daemon.config());
    daemon.log.set(config.log.clone());
    daemon.configure(config);
    if kept.is_empty() {
        info!("read the configuration again");
    } else {
        warn!(kept = kept.join(", "), "read the configuration again; the kept settings change only with a restart");
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
        /// The daemon was started on a terminal.
        on_terminal: bool,
    }

    impl Signals {
        pub(crate) fn listen() -> io::Result<Signals> {
            // With a handler, a write above the limit of file size fails as on a full disk; by default the signal ends the
            // process. The handler stays installed.
            let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
            Ok(Signals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hangup: signal(SignalKind::hangup())?,
                on_terminal: io::stdin().is_terminal(),
            })
        }

        /// Handles signals until the daemon stops.
        pub(crate) async fn serve(mut self, daemon: Arc<Daemon>) {
            // Reloading has a thread that may block: SIGTERM must work while the disk with the configuration hangs.
            let mut reloading: Option<JoinHandle<()>> = None;
            loop {
                tokio::select! {
                    _ = self.terminate.recv() => info!("SIGTERM: stopping"),
                    _ = self.interrupt.recv() => info!("SIGINT: stopping"),
                    _ = self.hangup.recv(), if reloading.is_none() => {
                        // A closed terminal is not a terminal any more.
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

    /// Reads the configuration again, and notifies the service manager of it.
    fn reload_as_service(daemon: &Daemon) {
        service_manager::reloading();
        if let Err(error) = reload(daemon) {
            error!("SIGHUP: {error}; the configuration is unchanged");
        }
        service_manager::ready();
    }

    /// Waits for a task, if there is one. A panic in it has been logged.
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

    /// The events of the console. When it is closed, Windows ends the process after 5 s.
    pub(crate) struct Signals {
        interrupt: CtrlC,
        terminate: CtrlBreak,
        close: CtrlClose,
    }

    impl Signals {
        pub(crate) fn listen() -> io::Result<Signals> {
            Ok(Signals { interrupt: ctrl_c()?, terminate: ctrl_break()?, close: ctrl_close()? })
        }

        /// Stops the daemon on the first event.
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
