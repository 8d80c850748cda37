//! The connection that a request arrives on.

use std::{fmt, future::pending, net::SocketAddr};

use sse_bus::limits::FIRST_BYTE;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::access::{Address, Caller, Grant, PageOrigin, Peer};

/// The connection that a request arrives on.
#[derive(Clone, Debug)]
pub(crate) enum RequestSource {
    Tcp {
        peer: SocketAddr,
        /// The peer is a process of the daemon's own user.
        is_own: bool,
        /// Cancelled by the first request that is authenticated.
        authenticated: CancellationToken,
    },
    /// The local socket, whose peers have been checked.
    Local(Peer),
}

impl RequestSource {
    /// A TCP connection.
    pub(super) fn tcp(peer: SocketAddr, is_own: bool) -> RequestSource {
        RequestSource::Tcp { peer, is_own, authenticated: CancellationToken::new() }
    }

    /// Returns true if requests need no token.
    pub(super) fn needs_no_token(&self) -> bool {
        match self {
            RequestSource::Tcp { is_own, .. } => *is_own,
            RequestSource::Local(_) => true,
        }
    }

    /// Returns true if the peer is a process of the daemon's own user.
    pub(super) fn is_own_user(&self) -> bool {
        match self {
            RequestSource::Tcp { is_own, .. } => *is_own,
            RequestSource::Local(peer) => peer.is_own,
        }
    }

    /// Notes that a request was authenticated.
    pub(super) fn note_authenticated(&self) {
        if let RequestSource::Tcp { authenticated, .. } = self {
            authenticated.cancel();
        }
    }

    /// Returns once a peer that needs a token has shown none for too long, whatever else it requested.
    pub(super) async fn remains_unauthenticated(&self) {
        match self {
            RequestSource::Tcp { is_own: false, authenticated, .. }
                if timeout(FIRST_BYTE, authenticated.cancelled()).await.is_err() => {}
            _ => pending().await,
        }
    }

    /// Returns the caller of a request on this connection.
    pub(super) fn caller(&self, page: Option<PageOrigin>, grant: Grant) -> Caller {
        let (address, uid) = match self {
            RequestSource::Tcp { peer, is_own, .. } => (Address::Tcp(*peer), is_own.then(own_uid).flatten()),
            RequestSource::Local(peer) => (Address::Process(peer.process.clone()), peer.uid),
        };
        Caller { address, uid, is_own: self.is_own_user(), page, grant }
    }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "users have no numeric ID on Windows")]
fn own_uid() -> Option<u32> {
    Some(rustix::process::geteuid().as_raw())
}

#[cfg(windows)]
fn own_uid() -> Option<u32> {
    None
}

impl fmt::Display for RequestSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestSource::Tcp { peer, .. } => peer.fmt(f),
            RequestSource::Local(peer) => peer.process.fmt(f),
        }
    }
}
