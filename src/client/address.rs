//! Where a client finds its daemon: at the local socket, or at a URL.

use std::fmt;

#[cfg(feature = "remote")]
use super::remote::Remote;
use crate::endpoint::Endpoint;

/// Where a client finds its daemon.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Address {
    /// A local socket.
    Local(Endpoint),
    /// A daemon elsewhere, over HTTP.
    #[cfg(feature = "remote")]
    Remote(Remote),
}

impl From<Endpoint> for Address {
    fn from(endpoint: Endpoint) -> Address {
        Address::Local(endpoint)
    }
}

impl From<&Endpoint> for Address {
    fn from(endpoint: &Endpoint) -> Address {
        Address::Local(endpoint.clone())
    }
}

#[cfg(feature = "remote")]
impl From<Remote> for Address {
    fn from(remote: Remote) -> Address {
        Address::Remote(remote)
    }
}

impl From<&Address> for Address {
    fn from(address: &Address) -> Address {
        address.clone()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Local(endpoint) => endpoint.fmt(f),
            #[cfg(feature = "remote")]
            Address::Remote(remote) => remote.fmt(f),
        }
    }
}
