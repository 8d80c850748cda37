//! Authorization: the daemon's own user, and the users that `allow_uid` and `allow_gid` name on the local socket, need no token;
//! every other caller may do what its token allows.
//!
//! The kernel reports the user of a connection when it is [accepted](socket_owner). Tokens are read from their file [when
//! they are used](current), so a revoked token is refused at once; the streams that it opened end with the next tick. A
//! browser's `EventSource` cannot send a token: [tickets] replace it there.

mod caller;
mod current;
mod grant;
mod kept_out;
mod kick;
mod peer;
mod publish_policy;
mod refused_names;
mod socket_owner;
mod tickets;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use sse_bus::{
    bus::ClientId,
    protocol::{ErrorCode, Refused},
    time::unix_now,
    tokens::{Digest, Scope, Secret, TokenFile},
};
use tracing::info;

pub(crate) use self::{
    caller::{Address, Caller, PageOrigin},
    grant::Grant,
    kept_out::KeptOutClients,
    kick::{Kicked, keep_name_out, kick_for},
    peer::Peer,
    publish_policy::{admit, check_publish},
    refused_names::RefusedNames,
};
use self::{
    current::CurrentTokens,
    grant::denied,
    socket_owner::Owners,
    tickets::{Ticket, Tickets},
};

/// Authenticates callers, and tracks the streams of each token.
pub(crate) struct Access {
    /// Present if the daemon listens on a loopback address.
    owners: Option<Owners>,
    /// The daemon listens on loopback addresses alone.
    is_local: bool,
    tokens: CurrentTokens,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    tickets: Tickets,
    /// The open streams of each token, by the token's ID.
    streams: HashMap<String, HashSet<ClientId>>,
}

impl Access {
    /// Takes the addresses on which the daemon listens: only connections within this machine have a user.
    pub(crate) fn new(addresses: &[SocketAddr], file: TokenFile) -> Access {
        let is_loopback = |address: &SocketAddr| address.ip().is_loopback();
        Access {
            owners: addresses.iter().any(is_loopback).then(Owners::new),
            is_local: addresses.iter().all(is_loopback),
            tokens: CurrentTokens::new(file),
            inner: Mutex::default(),
        }
    }

    /// Returns true if every connection of the daemon's own user is identified as such, at each of the addresses.
    pub(crate) fn identifies_own_user(&self) -> bool {
        self.is_local && self.owners.as_ref().is_some_and(Owners::is_available)
    }

    /// Returns true if an accepted connection comes from a process of the daemon's own user.
    pub(crate) fn is_own(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        self.owners.as_ref().is_some_and(|owners| owners.is_own(local, peer))
    }

    /// Returns what a token allows, if it is valid.
    pub(crate) async fn by_token(&self, presented: Digest) -> Option<Grant> {
        let tokens = self.tokens.get().await;
        // Every token is compared, each in constant time.
        let found = tokens.0.iter().fold(None, |found, token| if token.is(&presented) { Some(token) } else { found });
        found.filter(|token| !token.is_expired(unix_now())).cloned().map(Grant::Token)
    }

    /// Returns what a ticket allows, if it is valid.
    pub(crate) async fn by_ticket(&self, presented: Digest) -> Option<Grant> {
        let tokens = self.tokens.get().await;
        let inner = self.lock();
        let (token, ticket) = inner.tickets.find(&presented, Instant::now())?;
        Some(Grant::Ticket(tokens.valid(token, unix_now())?.clone(), ticket))
    }

    /// Refuses a request whose token has been revoked or has expired since it arrived.
    pub(crate) async fn check_still_valid(&self, grant: &Grant) -> Result<(), Refused> {
        let Some(token) = grant.token() else { return Ok(()) };
        let valid = self.tokens.get().await.valid(&token.id, unix_now()).is_some();
        valid
            .then_some(())
            .ok_or_else(|| denied("invalid or expired token; create one with `sse-busctl token create`".into()))
    }

    /// Creates a ticket for the streams of one client.
    ///
    /// # Errors
    ///
    /// The caller has no token, or its token has too many tickets.
    pub(crate) fn ticket(&self, grant: &Grant, client: String) -> Result<Secret, Refused> {
        grant.require(Scope::Subscribe)?;
        let Grant::Token(token) = grant else {
            let message = "a ticket can only be created with a token; send `Authorization: Bearer TOKEN`";
            return Err(Refused::new(ErrorCode::RequestInvalid, message));
        };
        self.lock().tickets.create(token, client, Instant::now())
    }

    /// Registers a stream, so that it ends with its token. Returns None if it needed no token.
    pub(crate) fn register(self: &Arc<Self>, grant: &Grant, client: ClientId) -> Option<TokenRegistration> {
        let (token, ticket) = match grant {
            Grant::Everything => return None,
            Grant::Token(token) => (token, None),
            Grant::Ticket(token, ticket) => (token, Some(ticket.clone())),
        };
        let mut inner = self.lock();
        inner.streams.entry(token.id.clone()).or_default().insert(client);
        if let Some(ticket) = &ticket {
            inner.tickets.opened(ticket);
        }
        Some(TokenRegistration { access: self.clone(), token: token.id.clone(), ticket, client })
    }

    /// Removes the tickets that have expired.
    pub(crate) fn expire_tickets(&self) {
        self.lock().tickets.expire(Instant::now());
    }

    /// Returns true if streams are open that need a token.
    pub(crate) fn has_streams(&self) -> bool {
        !self.lock().streams.is_empty()
    }

    /// Returns the streams whose token was revoked or has expired.
    pub(crate) async fn ended_streams(&self) -> Vec<ClientId> {
        let (tokens, now) = (self.tokens.get().await, unix_now());
        let inner = self.lock();
        let ended: Vec<_> = inner.streams.iter().filter(|(id, _)| tokens.valid(id, now).is_none()).collect();
        for (token, streams) in &ended {
            info!(token, streams = streams.len(), "a token was revoked or has expired; its streams end");
        }
        ended.into_iter().flat_map(|(_, streams)| streams.iter().copied()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open stream of a token, for as long as it is open.
pub(crate) struct TokenRegistration {
    access: Arc<Access>,
    token: String,
    ticket: Option<Ticket>,
    client: ClientId,
}

impl Drop for TokenRegistration {
    fn drop(&mut self) {
        let mut inner = self.access.lock();
        if let Some(streams) = inner.streams.get_mut(&self.token) {
            streams.remove(&self.client);
            if streams.is_empty() {
                inner.streams.remove(&self.token);
            }
        }
        if let Some(ticket) = &self.ticket {
            inner.tickets.closed(ticket, Instant::now());
        }
    }
}
