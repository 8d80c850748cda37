//! File descriptors: the daemon uses as many as the system allows, divided so that no kind of connection takes them all.
//!
//! Every connection holds a [`ConnectionPermit`] while it is served. [`OWN`] descriptors are not available to
//! connections. The last [`RESERVE`] permits are not available to TCP connections, so that events still arrive and
//! `sse-busctl` still answers when browsers have taken all others; nor to connections of the local socket, so that a
//! program that leaks connections takes none from browsers. Unauthenticated TCP peers share one eighth of the permits for
//! TCP, where the daemon can identify its own user. A connection that finds no permit waits for [`LEAVING`], and is then
//! closed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tracing::{info, warn};

/// Descriptors for the daemon's own files and sockets.
const OWN: usize = 32;
/// The daemon does not start with fewer descriptors.
pub(crate) const LEAST: usize = 2 * OWN;
/// Permits that TCP and the local socket cannot take from each other.
const RESERVE: usize = 96;
/// Unauthenticated TCP peers share one of this many parts of the permits for TCP.
const UNAUTHENTICATED_PART: usize = 8;
/// How long a new connection waits for a permit. When many clients reconnect at once, some of their old connections are not
/// closed yet.
const LEAVING: Duration = Duration::from_millis(200);

/// The permits for connections, by kind of connection.
pub(crate) struct ConnectionLimits {
    all: Arc<Semaphore>,
    pub(crate) tcp: Share,
    /// TCP peers that are not processes of the daemon's own user.
    pub(crate) unauthenticated: Share,
    pub(crate) local: Share,
}

/// The permits of one kind of connection.
pub(crate) struct Share {
    name: &'static str,
    permits: Arc<Semaphore>,
    /// How long a connection waits for a permit. No other connection of the listener is accepted meanwhile.
    patience: Duration,
    is_full: AtomicBool,
}

/// Permission to serve a connection, returned when it is dropped.
pub(crate) struct ConnectionPermit {
    _of_share: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl ConnectionLimits {
    /// Divides a number of descriptors, at least [`LEAST`].
    pub(crate) fn new(limit: usize, identifies_own_user: bool) -> ConnectionLimits {
        let all = limit - OWN;
        let most = all - RESERVE.min(all / 2);
        let share = |name, most| Share {
            name,
            permits: Arc::new(Semaphore::new(most)),
            patience: LEAVING,
            is_full: AtomicBool::new(false),
        };
        let mut unauthenticated = share("unauthenticated TCP", most);
        if identifies_own_user {
            let most = most / UNAUTHENTICATED_PART;
            unauthenticated = Share { patience: Duration::ZERO, ..share(unauthenticated.name, most) };
        }
        let (tcp, local) = (share("TCP", most), share("local", most));
        ConnectionLimits { all: Arc::new(Semaphore::new(all)), tcp, unauthenticated, local }
    }

    /// Returns a permit, or nothing if there is none in time. Logs when a share becomes full and when it no longer is.
    pub(crate) async fn acquire(&self, share: &Share) -> Option<ConnectionPermit> {
        let permit = async {
            let of_share = share.permits.clone().acquire_owned().await.ok()?;
            Some(ConnectionPermit { _of_share: of_share, _of_all: self.all.clone().acquire_owned().await.ok()? })
        };
        let patience = if share.is_full.load(Ordering::Relaxed) { Duration::ZERO } else { share.patience };
        let permit = timeout(patience, permit).await.ok().flatten();
        match (share.is_full.swap(permit.is_none(), Ordering::Relaxed), &permit) {
            (false, None) => warn!("no file descriptors are left for more {} connections; closing them", share.name),
            (true, Some(_)) => info!("file descriptors are available for {} connections again", share.name),
            _ => {}
        }
        permit
    }
}

/// The process may have fewer file descriptors than the daemon needs.
#[derive(Debug, thiserror::Error)]
#[error(
    "the system allows this process {limit} file descriptors, and the daemon needs at least {LEAST}; raise the limit, for example \
     with `ulimit -n 1024`"
)]
pub(crate) struct TooFewDescriptors {
    limit: usize,
}

/// Raises the process's limit of descriptors to what the system allows, and returns it.
///
/// # Errors
///
/// The limit is lower than [`LEAST`].
pub(crate) fn raise() -> Result<usize, TooFewDescriptors> {
    match raise_limit() {
        limit if limit < LEAST => Err(TooFewDescriptors { limit }),
        limit => Ok(limit),
    }
}

#[cfg(unix)]
fn raise_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    limit.map_or(MANY, |limit| usize::try_from(limit).unwrap_or(MANY).min(MANY))
}

/// Windows has no such limit.
#[cfg(windows)]
fn raise_limit() -> usize {
    MANY
}

/// Above this number other limits apply first.
const MANY: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn neither_tcp_nor_the_local_socket_takes_all_permits() {
        let limits = ConnectionLimits::new(OWN + 2 * RESERVE, true);
        let mut taken = Vec::new();
        for share in [&limits.tcp, &limits.local] {
            for _ in 0..RESERVE {
                taken.push(limits.acquire(share).await.unwrap());
            }
            assert!(limits.acquire(share).await.is_none());
        }
        drop(taken);
        let unauthenticated: Vec<_> = (0..RESERVE / UNAUTHENTICATED_PART)
            .map(|_| limits.unauthenticated.permits.clone().try_acquire_owned())
            .collect();
        assert!(unauthenticated.iter().all(Result::is_ok));
        assert!(limits.acquire(&limits.unauthenticated).await.is_none());
        assert!(limits.acquire(&limits.tcp).await.is_some());
    }
}
