//! File descriptors: as many as the system allows, shared out so that no crowd takes them all.
//!
//! A connection has a [`Place`] before it is served. [`OWN`] descriptors have no places: they are the daemon's. The last
//! [`RESERVE`] places are out of reach for TCP connections, so that events still come in and `sse-busctl` still answers
//! when browsers have taken all others; and as many for the local socket, so that a program that leaks connections takes
//! no browser's. Who is not known to be of the daemon's own user has a part of the places for TCP, where the own user can
//! be known. A connection that finds no place waits a moment for one to leave, and is then closed.

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

/// Descriptors for what the daemon opens itself.
const OWN: usize = 32;
/// With fewer descriptors the daemon does not start.
pub(crate) const LEAST: usize = 2 * OWN;
/// Places that either way in cannot take from the other.
const RESERVE: usize = 96;
/// The part of the places for TCP that strangers may have, one in so many, where the own user can be known.
const STRANGERS: usize = 8;
/// How long a new connection waits for one to leave before it is closed for want of descriptors. When many leave and come
/// back at once, some are not gone yet.
const LEAVING: Duration = Duration::from_millis(200);

/// The places that there are.
pub(crate) struct Places {
    all: Arc<Semaphore>,
    pub(crate) tcp: Way,
    /// TCP, for whoever is not known.
    pub(crate) strangers: Way,
    pub(crate) local: Way,
}

/// A way in.
pub(crate) struct Way {
    name: &'static str,
    places: Arc<Semaphore>,
    /// How long a connection waits for a place. Nobody else is accepted meanwhile.
    patience: Duration,
    full: AtomicBool,
}

/// A connection's place, given back when it is dropped.
pub(crate) struct Place {
    _of_the_way: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    /// Shares out so many descriptors, at least [`LEAST`].
    pub(crate) fn new(limit: usize, knows_own: bool) -> Places {
        let all = limit - OWN;
        let most = all - RESERVE.min(all / 2);
        let way = |name, most| Way {
            name,
            places: Arc::new(Semaphore::new(most)),
            patience: LEAVING,
            full: AtomicBool::new(false),
        };
        let mut strangers = way("strangers' TCP", most);
        if knows_own {
            strangers = Way { patience: Duration::ZERO, ..way(strangers.name, most / STRANGERS) };
        }
        Places { all: Arc::new(Semaphore::new(all)), tcp: way("TCP", most), strangers, local: way("local", most) }
    }

    /// A place for a connection that has come in one way. The log tells when there is none any more, and when again.
    pub(crate) async fn take(&self, way: &Way) -> Option<Place> {
        let place = async {
            let of_the_way = way.places.clone().acquire_owned().await.ok()?;
            Some(Place { _of_the_way: of_the_way, _of_all: self.all.clone().acquire_owned().await.ok()? })
        };
        let patience = if way.full.load(Ordering::Relaxed) { Duration::ZERO } else { way.patience };
        let place = timeout(patience, place).await.ok().flatten();
        match (way.full.swap(place.is_none(), Ordering::Relaxed), &place) {
            (false, None) => warn!("no descriptors are left for more {} connections; closing them", way.name),
            (true, Some(_)) => info!("there are descriptors for more {} connections again", way.name),
            _ => {}
        }
        place
    }
}

/// Raises the limit to what the system allows at most, and returns it.
///
/// # Errors
///
/// There are fewer than [`LEAST`].
pub(crate) fn limit() -> Result<usize, String> {
    match raise_limit() {
        limit if limit < LEAST => Err(format!(
            "the system allows this process {limit} file descriptors, and the daemon needs at least {LEAST}; raise the limit, \
             for example with `ulimit -n 1024`"
        )),
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

/// Beyond this other bounds count.
const MANY: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn neither_way_in_takes_all_places() {
        let places = Places::new(OWN + 2 * RESERVE, true);
        let mut taken = Vec::new();
        for way in [&places.tcp, &places.local] {
            for _ in 0..RESERVE {
                taken.push(places.take(way).await.unwrap());
            }
            assert!(places.take(way).await.is_none());
        }
        drop(taken);
        let strangers: Vec<_> =
            (0..RESERVE / STRANGERS).map(|_| places.strangers.places.clone().try_acquire_owned()).collect();
        assert!(strangers.iter().all(Result::is_ok) && places.take(&places.strangers).await.is_none());
        assert!(places.take(&places.tcp).await.is_some());
    }
}
