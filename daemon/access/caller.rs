//! The client that sends a request, over any transport, and what it may do.

use std::{fmt, net::SocketAddr, sync::Arc};

use super::{grant::Grant, peer::Peer};

/// The client that sends a request. On the local socket it is the same for all requests of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) address: Address,
    /// Its user, if the operating system reports it.
    pub(crate) uid: Option<u32>,
    /// It is a process of the daemon's own user.
    pub(crate) is_own: bool,
    /// The web page that sends the request, if one does.
    pub(crate) page: Option<PageOrigin>,
    pub(crate) grant: Grant,
}

/// The other end of the connection, for people.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    /// A description of the process, such as `python3 (pid 812)`.
    Process(Arc<str>),
}

/// The origin of a web page.
#[derive(Clone, Debug)]
pub(crate) struct PageOrigin {
    /// The origin as browsers write it.
    pub(crate) origin: String,
    /// It is not the daemon's own dashboard.
    pub(crate) is_foreign: bool,
}

impl Caller {
    /// Returns the caller of a connection to the local socket. A process that may connect needs no token.
    pub(crate) fn local(peer: Peer) -> Caller {
        let Peer { process, uid, is_own } = peer;
        Caller { address: Address::Process(process), uid, is_own, page: None, grant: Grant::Everything }
    }

    /// Returns the origin of the page that sends the request, unless it is the daemon's own.
    pub(crate) fn foreign_origin(&self) -> Option<&str> {
        self.page.as_ref().filter(|page| page.is_foreign).map(|page| &*page.origin)
    }
}

/// The address, then the token if there is one, such as `127.0.0.1:50412 (token phone)`.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        match self.grant.token() {
            Some(token) => write!(f, " (token {})", token.name.as_ref().unwrap_or(&token.id)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(peer) => peer.fmt(f),
            Address::Process(process) => process.fmt(f),
        }
    }
}
