//! The connection that a request arrives on.

use std::{fmt, future::pending, net::SocketAddr, sync::Arc};

use sse_bus::limits::FIRST_BYTE;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    access::{Address, Caller, Grant, PageOrigin, Peer},
    connection::Connection,
    unauthenticated::Unauthenticated,
};

/// The connection that a request arrives on.
#[derive(Clone, Debug)]
pub(crate) enum RequestSource {
    Tcp {
        peer: SocketAddr,
        /// None for a process of the daemon's own user, which needs no token.
        unauthenticated: Option<Arc<Unauthenticated>>,
    },
    /// The local socket, whose peers have been checked.
    Local(Peer),
}

impl RequestSource {
    /// Returns true if requests need no token.
    pub(super) fn needs_no_token(&self) -> bool {
        match self {
            RequestSource::Tcp { unauthenticated, .. } => unauthenticated.is_none(),
            RequestSource::Local(_) => true,
        }
    }

    /// Returns true if the peer is a process of the daemon's own user.
    pub(super) fn is_own_user(&self) -> bool {
        match self {
            RequestSource::Tcp { unauthenticated, .. } => unauthenticated.is_none(),
            RequestSource::Local(peer) => peer.is_own,
        }
    }

    /// Notes that a request was authenticated.
    pub(super) fn note_authenticated(&self) {
        if let RequestSource::Tcp { unauthenticated: Some(unauthenticated), .. } = self {
            unauthenticated.authenticate();
        }
    }

    /// Returns why a connection is closed that has not authenticated, whatever else it requested.
    pub(super) async fn remains_unauthenticated(&self) -> &'static str {
        match self {
            RequestSource::Tcp { unauthenticated: Some(unauthenticated), .. } => {
                unauthenticated.expire(FIRST_BYTE).await
            }
            _ => pending().await,
        }
    }

    /// Returns the connection of a socket.
    pub(super) fn connection<S: AsyncRead + AsyncWrite + Unpin>(&self, socket: S) -> Connection<S> {
        match self {
            RequestSource::Tcp { unauthenticated: Some(unauthenticated), .. } => {
                Connection::charged(socket, unauthenticated.clone())
            }
            _ => Connection::new(socket),
        }
    }

    /// Returns the caller of a request on this connection.
    pub(super) fn caller(&self, page: Option<PageOrigin>, grant: Grant) -> Caller {
        let (address, uid) = match self {
            RequestSource::Tcp { peer, .. } => (Address::Tcp(*peer), self.is_own_user().then(own_uid).flatten()),
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
