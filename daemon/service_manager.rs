//! The service manager: the sockets that it holds open while the daemon is not running, and notifications of the daemon's
//! state.
//!
//! The sockets are inherited as descriptors, as `sd_listen_fds(3)` describes: any number named `http` and one named `ipc`, or
//! without names, told apart by their type; launchd of macOS is asked for them by name. Notifications follow `sd_notify(3)`.
//! The watchdog is notified only while events can be delivered: the bus can be locked and every shard of the fan-out makes
//! progress.

use std::sync::Arc;

use crate::{config::InheritedSockets, context::Daemon, fanout::Fanout};

#[cfg(unix)]
pub(crate) use self::unix::{Sockets, ready, reloading, stopping, watchdog};

#[cfg(unix)]
mod unix {
    use std::{env, io, net::TcpListener, os::unix::net::UnixListener, time::Duration};

    use listenfd::ListenFd;
    use sd_notify::{NotifyState, notify};
    use tokio::{
        task::spawn_blocking,
        time::{interval, timeout},
    };
    use tracing::{debug, error};

    use super::{Arc, Daemon, Fanout, InheritedSockets};

    /// The inherited sockets.
    #[derive(Debug, Default)]
    pub(crate) struct Sockets {
        pub(crate) http: Vec<TcpListener>,
        pub(crate) ipc: Option<UnixListener>,
    }

    /// Why inherited sockets cannot be used.
    #[derive(Debug, thiserror::Error)]
    pub(crate) enum InheritedError {
        #[error("the socket {index} of LISTEN_FDS (named `{}`) is a second local one; give one", .name.escape_debug())]
        SecondLocal { index: usize, name: String },
        #[error(
            "the socket {index} of LISTEN_FDS (named `{}`) cannot be used; give a TCP socket as `http`, a Unix stream socket as \
             `ipc`",
            .name.escape_debug()
        )]
        Unusable { index: usize, name: String },
        #[error("a socket of LISTEN_FDS cannot be used: {0}")]
        NoAddress(#[from] io::Error),
        #[error("the socket `ipc` of LISTEN_FDS has no path; give it one")]
        NoPath,
    }

    impl Sockets {
        /// Takes the sockets that the process inherited.
        pub(crate) fn take() -> Result<Sockets, InheritedError> {
            let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
            let names: Vec<&str> = names.split(':').collect();
            let mut given = ListenFd::from_env();
            let mut sockets = Sockets::default();
            for index in 0..given.len() {
                let name = names.get(index).copied().unwrap_or_default();
                if name != "http"
                    && let Ok(Some(socket)) = given.take_unix_listener(index)
                {
                    if sockets.ipc.replace(socket).is_some() {
                        return Err(InheritedError::SecondLocal { index, name: name.into() });
                    }
                } else if name != "ipc"
                    && let Ok(Some(socket)) = given.take_tcp_listener(index)
                {
                    sockets.http.push(socket);
                } else {
                    return Err(InheritedError::Unusable { index, name: name.into() });
                }
            }
            #[cfg(target_os = "macos")]
            {
                use crate::launchd::{local, tcp};
                if sockets.http.is_empty() {
                    sockets.http = tcp("http");
                }
                sockets.ipc = sockets.ipc.or_else(|| local("ipc"));
            }
            Ok(sockets)
        }

        /// Returns the addresses of the sockets.
        pub(crate) fn addresses(&self) -> Result<InheritedSockets, InheritedError> {
            let http = self.http.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
            let ipc = self.ipc.as_ref().map(UnixListener::local_addr).transpose()?;
            let ipc = ipc.map(|address| address.as_pathname().map(ToOwned::to_owned).ok_or(InheritedError::NoPath));
            Ok(InheritedSockets { http, ipc: ipc.transpose()? })
        }
    }

    /// Notifies the service manager that the daemon serves.
    pub(crate) fn ready() {
        send(&[NotifyState::Ready, NotifyState::Status("serving")]);
    }

    /// Notifies the service manager that the daemon reads its configuration again; [`ready`] ends that state.
    pub(crate) fn reloading() {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(error) => debug!(%error, "cannot read the time for the service manager"),
        }
    }

    /// Notifies the service manager that the daemon stops.
    pub(crate) fn stopping() {
        send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    fn send(state: &[NotifyState]) {
        if let Err(error) = notify(state) {
            debug!(%error, "cannot notify the service manager");
        }
    }

    /// Notifies the watchdog, if there is one, until the daemon stops.
    pub(crate) async fn watchdog(daemon: Arc<Daemon>, fanout: Arc<Fanout>) {
        // Twice within its timeout.
        let Some(pause) = sd_notify::watchdog_enabled().map(|patience| patience / 2) else { return };
        let mut ticks = interval(pause.max(Duration::from_millis(1)));
        while daemon.or_stop(ticks.tick()).await.is_some() {
            daemon.bus.with(|_, _| ());
            if timeout(pause, fanout.make_progress()).await.is_ok() {
                // On a thread that may block: a manager that does not read its socket blocks the notification.
                let _ = spawn_blocking(|| send(&[NotifyState::Watchdog])).await;
            } else {
                error!("a shard of the fan-out has made no progress for {} s", pause.as_secs_f32());
            }
        }
    }
}

#[cfg(windows)]
pub(crate) use self::windows::{Sockets, ready, stopping, watchdog};

#[cfg(windows)]
mod windows {
    use super::{Arc, Daemon, Fanout, InheritedSockets};

    /// There are no inherited sockets on Windows.
    #[derive(Debug, Default)]
    pub(crate) struct Sockets {
        pub(crate) http: Vec<std::net::TcpListener>,
    }

    /// Cannot happen on Windows.
    #[derive(Debug, thiserror::Error)]
    pub(crate) enum InheritedError {}

    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "the same interface as on Unix")]
    impl Sockets {
        pub(crate) fn take() -> Result<Sockets, InheritedError> {
            Ok(Sockets::default())
        }

        pub(crate) fn addresses(&self) -> Result<InheritedSockets, InheritedError> {
            Ok(InheritedSockets::default())
        }
    }

    pub(crate) fn ready() {}

    pub(crate) fn stopping() {}

    pub(crate) async fn watchdog(_: Arc<Daemon>, _: Arc<Fanout>) {}
}
