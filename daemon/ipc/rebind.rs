//! Binds the local socket again when its file was removed, moved or replaced.
//!
//! On Linux inotify reports it, so that an idle daemon sleeps: the file of the socket and the directories above it are
//! watched. What that does not report, such as a mount over a directory, the checks at each tick of the bus find. Without
//! inotify, and while binding fails, the path is checked every [`PATH_CHECK`].

use std::time::Duration;

use tokio::{select, task::spawn_blocking, time::sleep};
use tracing::{error, info};

use self::watch::Watch;
use super::listener::Listener;
use crate::context::Daemon;

/// Time between two checks of the path where nothing reports a change.
const PATH_CHECK: Duration = Duration::from_secs(4);

/// Keeps the path of the local socket leading to it.
#[derive(Default)]
pub(super) struct Binder {
    watch: Option<Watch>,
    /// Why the last attempt failed, so that the log has it once.
    failure: Option<String>,
}

impl Binder {
    /// Waits until the path may no longer lead to the socket, or a check is asked for.
    pub(super) async fn is_due(&self, daemon: &Daemon) {
        let change = async {
            match &self.watch {
                Some(watch) => watch.changed().await,
                None => sleep(PATH_CHECK).await,
            }
        };
        select! {
            () = change => {}
            () = daemon.check_socket.notified() => {}
        }
    }

    /// Binds the socket again if its path no longer leads to it.
    pub(super) async fn rebind_if_lost(&mut self, listener: &mut Listener, daemon: &Daemon) {
        let endpoint = daemon.config().endpoint.clone();
        loop {
            // First, so that a change after the check is reported.
            let watched = endpoint.clone();
            self.watch = spawn_blocking(move || Watch::new(&watched)).await.ok().flatten();
            match listener.rebind_if_lost(&endpoint).await {
                Ok(false) => return,
                Ok(true) => {
                    info!(socket = %endpoint, "the socket file was removed or replaced; bound the socket again");
                    self.failure = None;
                }
                Err(error) => {
                    self.watch = None;
                    let failure = error.to_string();
                    if self.failure.as_ref() != Some(&failure) {
                        error!("the socket file was removed or replaced, and cannot be bound again yet: {failure}");
                        self.failure = Some(failure);
                    }
                    return;
                }
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod watch {
    use std::path::Path;

    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    use sse_bus::Endpoint;
    use tokio::net::unix::pipe::Receiver;

    /// Watches that the file of a socket stays where it is. Events are read like those of a pipe.
    pub(super) struct Watch(Receiver);

    impl Watch {
        /// Returns None if the file is missing or cannot be watched.
        pub(super) fn new(endpoint: &Endpoint) -> Option<Watch> {
            let path = std::path::absolute(endpoint.path()).ok()?;
            let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
            let is_moved = WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF;
            // Removing a bound socket changes its number of links; it is deleted only when it is closed.
            inotify::add_watch(&events, &path, is_moved | WatchFlags::ATTRIB | WatchFlags::DONT_FOLLOW).ok()?;
            for directory in path.ancestors().skip(1).filter(|directory| *directory != Path::new("/")) {
                // Those that this user may not read are not watched. They belong to root, as a rule.
                let _ = inotify::add_watch(&events, directory, is_moved);
            }
            Receiver::from_owned_fd_unchecked(events).ok().map(Watch)
        }

        /// Waits for a change since the watch was created. After that a new watch is needed.
        pub(super) async fn changed(&self) {
            let _ = self.0.readable().await;
        }
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
mod watch {
    use sse_bus::Endpoint;

    /// There is no inotify here.
    pub(super) enum Watch {}

    impl Watch {
        pub(super) fn new(_: &Endpoint) -> Option<Watch> {
            None
        }

        #[expect(clippy::unused_async, reason = "the same interface as on Linux")]
        pub(super) async fn changed(&self) {
            match *self {}
        }
    }
}

#[cfg(windows)]
mod watch {
    use sse_bus::Endpoint;

    /// A pipe keeps its name while it is served.
    pub(super) struct Watch;

    impl Watch {
        #[expect(clippy::unnecessary_wraps, reason = "the same interface as on Linux")]
        pub(super) fn new(_: &Endpoint) -> Option<Watch> {
            Some(Watch)
        }

        pub(super) async fn changed(&self) {
            std::future::pending::<()>().await;
        }
    }
}
