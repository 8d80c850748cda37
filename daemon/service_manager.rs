//! What a service manager gives and wants: sockets that it holds open while the daemon is away, and word of how the
//! daemon is.
//!
//! The sockets come as descriptors, as `sd_listen_fds(3)` has it: any number named `http` and one named `ipc`, or without
//! names, then told apart by what they are; launchd of macOS is asked for them. Word goes as `sd_notify(3)` has it. The watchdog is fed by
//! what delivers events: it is told that the daemon is alive once the bus could be locked and every shard has come round.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use crate::server::Daemon;

/// Where the sockets are that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) http: Vec<SocketAddr>,
    pub(crate) ipc: Option<PathBuf>,
}

#[cfg(unix)]
pub(crate) use self::unix::{Sockets, ready, reloading, stopping, watchdog};

#[cfg(unix)]
mod unix {
    use std::{env, net::TcpListener, os::unix::net::UnixListener, time::Duration};

    use listenfd::ListenFd;
    use sd_notify::{NotifyState, notify};
    use tokio::{
        task::spawn_blocking,
        time::{interval, timeout},
    };
    use tracing::{debug, error};

    use super::{Arc, Daemon, Held};

    /// The sockets that were given.
    #[derive(Debug, Default)]
    pub(crate) struct Sockets {
        pub(crate) http: Vec<TcpListener>,
        pub(crate) ipc: Option<UnixListener>,
    }

    impl Sockets {
        /// Takes what the process was given.
        ///
        /// # Errors
        ///
        /// Says which descriptor is none of those that the daemon has a use for.
        pub(crate) fn take() -> Result<Sockets, String> {
            let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
            let names: Vec<&str> = names.split(':').collect();
            let mut given = ListenFd::from_env();
            let mut sockets = Sockets::default();
            for index in 0..given.len() {
                let name = names.get(index).copied().unwrap_or_default();
                let failed =
                    |why: &str| format!("the socket {index} of LISTEN_FDS (named `{}`) {why}", name.escape_debug());
                if name != "http"
                    && let Ok(Some(socket)) = given.take_unix_listener(index)
                {
                    if sockets.ipc.replace(socket).is_some() {
                        return Err(failed("is a second local one; give one"));
                    }
                } else if name != "ipc"
                    && let Ok(Some(socket)) = given.take_tcp_listener(index)
                {
                    sockets.http.push(socket);
                } else {
                    return Err(failed("cannot be used; give a TCP socket as `http`, a Unix stream socket as `ipc`"));
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

        /// Where they are.
        ///
        /// # Errors
        ///
        /// A socket has no address that could be told.
        pub(crate) fn held(&self) -> Result<Held, String> {
            let failed = |e| format!("a socket of LISTEN_FDS cannot be used: {e}");
            let http = self.http.iter().map(TcpListener::local_addr).collect::<Result<_, _>>().map_err(failed)?;
            let ipc = self.ipc.as_ref().map(UnixListener::local_addr).transpose().map_err(failed)?;
            let ipc = ipc.map(|address| {
                address
                    .as_pathname()
                    .map(ToOwned::to_owned)
                    .ok_or("the socket `ipc` of LISTEN_FDS has no path; give it one")
            });
            Ok(Held { http, ipc: ipc.transpose()? })
        }
    }

    /// Says that the daemon serves.
    pub(crate) fn ready() {
        tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
    }

    /// Says that the daemon reads its configuration again; [`ready`] says that it has.
    pub(crate) fn reloading() {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => debug!(%error, "the service manager cannot be told the time"),
        }
    }

    /// Says that the daemon stops.
    pub(crate) fn stopping() {
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    fn tell(state: &[NotifyState]) {
        if let Err(error) = notify(state) {
            debug!(%error, "the service manager cannot be told");
        }
    }

    /// Feeds the watchdog, if there is one, until the daemon stops.
    pub(crate) async fn watchdog(daemon: Arc<Daemon>) {
        // Twice in the time that it waits.
        let Some(pause) = sd_notify::watchdog_enabled().map(|patience| patience / 2) else { return };
        let mut rounds = interval(pause.max(Duration::from_millis(1)));
        while daemon.or_stop(rounds.tick()).await.is_some() {
            daemon.bus.with(|_, _| ());
            if timeout(pause, daemon.fanout.come_round()).await.is_ok() {
                // A manager that does not read its socket holds up a thread of its own kind, and then nothing is sent.
                let _ = spawn_blocking(|| tell(&[NotifyState::Watchdog])).await;
            } else {
                error!("a shard has not come round for {} s", pause.as_secs_f32());
            }
        }
    }
}

#[cfg(windows)]
pub(crate) use self::windows::{Sockets, ready, stopping, watchdog};

#[cfg(windows)]
mod windows {
    use super::{Arc, Daemon, Held};

    /// Windows gives none.
    #[derive(Debug, Default)]
    pub(crate) struct Sockets {
        pub(crate) http: Vec<std::net::TcpListener>,
    }

    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "elsewhere there can be some")]
    impl Sockets {
        pub(crate) fn take() -> Result<Sockets, String> {
            Ok(Sockets::default())
        }

        pub(crate) fn held(&self) -> Result<Held, String> {
            Ok(Held::default())
        }
    }

    pub(crate) fn ready() {}

    pub(crate) fn stopping() {}

    pub(crate) async fn watchdog(_: Arc<Daemon>) {}
}
