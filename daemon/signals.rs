//! Signals: SIGTERM and SIGINT stop the daemon, SIGHUP has it read its configuration again. On Windows Ctrl-C, Ctrl-Break
//! and the end of its console stop it.
//!
//! No stream is dropped for a new configuration. What cannot change while the daemon runs stays, and the log names it. A
//! daemon that was started on a terminal stops when that is closed.

use std::sync::Arc;

use tracing::{info, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::{config::Config, server::Daemon};

/// Replaces what is logged.
pub(crate) struct LogFilter(Box<dyn Fn(Targets) + Send + Sync>);

impl LogFilter {
    pub(crate) fn new(replace: impl Fn(Targets) + Send + Sync + 'static) -> LogFilter {
        LogFilter(Box::new(replace))
    }

    /// Parses what is to be logged.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it, and what to write.
    pub(crate) fn parse(log: &str) -> Result<Targets, String> {
        let wrong = |what: String| format!("log = {log}: {what}; write for example `info` or `sse_busd=debug`");
        // A level that is misspelt would be taken for a module, and nothing else be logged.
        let is_level = |word: &str| word.trim().is_empty() || word.trim().parse::<LevelFilter>().is_ok();
        if let Some(word) = log.split(',').find(|word| !word.contains('=') && !is_level(word)) {
            return Err(wrong(format!("`{word}` is no level")));
        }
        let targets = log.parse::<Targets>().map_err(|e| wrong(e.to_string()))?;
        // It logs what it cannot parse, and a ticket may be in that.
        Ok(targets.with_target("h2", LevelFilter::WARN))
    }
}

/// Reads the configuration again, and goes on with it. One that is wrong changes nothing.
#[cfg_attr(windows, expect(dead_code, reason = "there is no signal for it"))]
fn reload(daemon: &Daemon) -> Result<(), String> {
    let read = Config::read(daemon.config().held.clone()).map_err(|e| e.to_string())?;
    let filter = LogFilter::parse(&read.log)?;
    let (config, kept) = read.for_running(&daemon.config());
    daemon.configure(config);
    (daemon.log.0)(filter);
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
    use std::io::{self, IsTerminal};

    use tokio::signal::unix::{Signal, SignalKind, signal};
    use tracing::error;

    use super::{Arc, Daemon, info, reload};
    use crate::service;

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
            Ok(Signals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hangup: signal(SignalKind::hangup())?,
                on_terminal: io::stdin().is_terminal(),
            })
        }

        /// Does what signals say, until the daemon stops.
        pub(crate) async fn serve(mut self, daemon: Arc<Daemon>) {
            loop {
                tokio::select! {
                    _ = self.terminate.recv() => info!("SIGTERM: stopping"),
                    _ = self.interrupt.recv() => info!("SIGINT: stopping"),
                    _ = self.hangup.recv() => {
                        // What was closed is no terminal any more.
                        if !self.on_terminal || io::stdin().is_terminal() {
                            service::reloading();
                            if let Err(error) = reload(&daemon) {
                                error!("SIGHUP: {error}; the daemon goes on as it was");
                            }
                            service::ready();
                            continue;
                        }
                        info!("the terminal is closed: stopping");
                    }
                    () = daemon.stop.cancelled() => return,
                }
                return daemon.begin_to_stop();
            }
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
