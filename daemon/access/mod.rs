//! Who may do what: the daemon's own user everything, everybody else what a token allows.
//!
//! Whose connection it is the [kernel says](socket_owner) when it is accepted. Tokens are those that their file [has now](current),
//! so a revoked one is of no use from then on; the streams that it opened end with the next tick. A browser's
//! `EventSource` cannot send a token: for it a token gets [`tickets`].

mod current;
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
    Filter, FilterSet, Topic,
    bus::{CLIENTS_TOPIC, ClientId},
    protocol::{ErrorCode, Refused, Subscribe},
    tokens::{Digest, Scope, Secret, Token, TokenFile},
};
use tracing::info;

pub(crate) use self::publish_policy::{Allowed, Publisher};
pub(crate) use self::refused_names::Refused as RefusedNames;
use self::{
    current::CurrentTokens,
    socket_owner::Owners,
    tickets::{Ticket, Tickets},
};
use crate::shared_bus::unix_now;

/// Who is known, and what they have open.
pub(crate) struct Access {
    owners: Option<Owners>,
    /// No other machine reaches the daemon.
    is_local: bool,
    tokens: CurrentTokens,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    tickets: Tickets,
    /// The streams that each token has opened, by its id.
    streams: HashMap<String, HashSet<ClientId>>,
}

/// What whoever sends a request may do.
#[derive(Clone, Debug)]
pub(crate) enum Grant {
    /// Everything: the daemon's own user.
    Own,
    /// What the token allows.
    Token(Arc<Token>),
    /// Streams of one client, as far as the token allows.
    Ticket(Arc<Token>, Ticket),
}

impl Access {
    /// The addresses at which the daemon listens say whether the own user can be known: only within this machine.
    pub(crate) fn new(addresses: &[SocketAddr], file: TokenFile) -> Access {
        let is_loopback = |address: &SocketAddr| address.ip().is_loopback();
        Access {
            owners: addresses.iter().any(is_loopback).then(Owners::new),
            is_local: addresses.iter().all(is_loopback),
            tokens: CurrentTokens::new(file),
            inner: Mutex::default(),
        }
    }

    /// Whether connections of the own user are known as such, wherever they come in.
    pub(crate) fn knows_all_own(&self) -> bool {
        self.is_local && self.owners.as_ref().is_some_and(Owners::knows)
    }

    /// Whether an accepted connection comes from a process of the daemon's own user.
    pub(crate) fn is_own(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        self.owners.as_ref().is_some_and(|owners| owners.is_own(local, peer))
    }

    /// What the holder of a token may do, if it is one.
    pub(crate) async fn by_token(&self, presented: Digest) -> Option<Grant> {
        let tokens = self.tokens.get().await;
        // All are compared, and each in a constant time.
        let found = tokens.0.iter().fold(None, |found, token| if token.is(&presented) { Some(token) } else { found });
        found.filter(|token| !token.is_expired(unix_now())).cloned().map(Grant::Token)
    }

    /// What the holder of a ticket may do, if it is one.
    pub(crate) async fn by_ticket(&self, presented: Digest) -> Option<Grant> {
        let tokens = self.tokens.get().await;
        let inner = self.lock();
        let (token, ticket) = inner.tickets.find(&presented, Instant::now())?;
        Some(Grant::Ticket(tokens.valid(token, unix_now())?.clone(), ticket))
    }

    /// Refuses what was begun with a token that is over now.
    pub(crate) async fn holds(&self, grant: &Grant) -> Result<(), Refused> {
        let Some(token) = grant.token() else { return Ok(()) };
        let valid = self.tokens.get().await.valid(&token.id, unix_now()).is_some();
        valid.then_some(()).ok_or_else(|| denied("the token is over".into()))
    }

    /// A ticket for the streams of one client.
    ///
    /// # Errors
    ///
    /// Only tokens get tickets, and only so many.
    pub(crate) fn ticket(&self, grant: &Grant, client: String) -> Result<Secret, Refused> {
        grant.require(Scope::Subscribe)?;
        let Grant::Token(token) = grant else {
            let message =
                "tickets are for who needs a token, and are given for one: send `Authorization: Bearer TOKEN`";
            return Err(Refused::new(ErrorCode::RequestInvalid, message));
        };
        self.lock().tickets.give(token, client, Instant::now())
    }

    /// Notes a stream that was opened, so that it ends when its token does. Nothing where no token was needed.
    pub(crate) fn lease(self: &Arc<Self>, grant: &Grant, client: ClientId) -> Option<Lease> {
        let (token, ticket) = match grant {
            Grant::Own => return None,
            Grant::Token(token) => (token, None),
            Grant::Ticket(token, ticket) => (token, Some(ticket.clone())),
        };
        let mut inner = self.lock();
        inner.streams.entry(token.id.clone()).or_default().insert(client);
        if let Some(ticket) = &ticket {
            inner.tickets.opened(ticket);
        }
        Some(Lease { access: self.clone(), token: token.id.clone(), ticket, client })
    }

    /// Removes the tickets that have expired.
    pub(crate) fn expire_tickets(&self) {
        self.lock().tickets.expire(Instant::now());
    }

    /// Returns true if streams are open that need a token.
    pub(crate) fn has_streams(&self) -> bool {
        !self.lock().streams.is_empty()
    }

    /// The streams whose token was revoked or has expired.
    pub(crate) async fn ended(&self) -> Vec<ClientId> {
        let (tokens, now) = (self.tokens.get().await, unix_now());
        let inner = self.lock();
        let over: Vec<_> = inner.streams.iter().filter(|(id, _)| tokens.valid(id, now).is_none()).collect();
        for (token, streams) in &over {
            info!(token, streams = streams.len(), "a token is over; its streams end");
        }
        over.into_iter().flat_map(|(_, streams)| streams.iter().copied()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Grant {
    /// Refuses what is not allowed at all.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Refused> {
        let allowed = match self {
            Grant::Own => true,
            Grant::Token(token) => token.allows(scope),
            Grant::Ticket(token, _) => scope == Scope::Subscribe && token.allows(scope),
        };
        if allowed {
            return Ok(());
        }
        let what = if matches!(self, Grant::Ticket(..)) { "ticket" } else { "token" };
        Err(denied(format!("this {what} does not allow to {}; make one with --scope {scope}", verb(scope))))
    }

    /// Refuses to publish where that is not allowed.
    fn publish(&self, topic: &Topic) -> Result<(), Refused> {
        self.require(Scope::Publish)?;
        // Every topic is a filter, too.
        match (self.token(), Filter::parse(topic.as_str())) {
            (Some(token), Ok(filter)) if !token.covers(&filter) => Err(not_covered(token, &filter)),
            _ => Ok(()),
        }
    }

    /// Fills in what a subscription leaves open and the grant does not: topics, and the client's name.
    pub(crate) fn complete(&self, subscribe: &mut Subscribe) -> Result<(), Refused> {
        self.require(Scope::Subscribe)?;
        if let Some(token) = self.token().filter(|_| subscribe.filters.is_empty()) {
            subscribe.filters = token.topics.iter().map(ToString::to_string).collect();
        }
        if let Grant::Ticket(_, ticket) = self {
            match &subscribe.client {
                Some(name) if **name != *ticket.client => {
                    let message =
                        format!("this ticket is for the client `{}`; get one for each", ticket.client.escape_debug());
                    return Err(denied(message));
                }
                _ => subscribe.client = Some(ticket.client.to_string()),
            }
        }
        Ok(())
    }

    /// Refuses to subscribe to what is not allowed.
    pub(crate) fn subscribe(&self, filters: &FilterSet) -> Result<(), Refused> {
        self.require(Scope::Subscribe)?;
        let Some(token) = self.token() else { return Ok(()) };
        if Topic::parse(CLIENTS_TOPIC).is_ok_and(|topic| filters.matches(&topic)) {
            // What `/clients` shows.
            self.require(Scope::Admin)?;
        }
        filters.iter().find(|filter| !token.covers(filter)).map_or(Ok(()), |filter| Err(not_covered(token, filter)))
    }

    /// Of which topics events that are sent to it alone must be; of any if empty.
    pub(crate) fn topics(&self) -> &[Filter] {
        self.token().map_or(&[], |token| &token.topics)
    }

    /// Who it is, behind an address: ` (token phone)`.
    pub(crate) fn holder(&self) -> String {
        self.token().map_or(String::new(), |token| format!(" (token {})", token.name.as_ref().unwrap_or(&token.id)))
    }

    fn token(&self) -> Option<&Token> {
        match self {
            Grant::Own => None,
            Grant::Token(token) | Grant::Ticket(token, _) => Some(token),
        }
    }
}

fn verb(scope: Scope) -> &'static str {
    match scope {
        Scope::Publish => "publish",
        Scope::Subscribe => "subscribe",
        Scope::Admin => "look at or manage the bus",
    }
}

fn not_covered(token: &Token, filter: &Filter) -> Refused {
    let allowed: Vec<_> = token.topics.iter().map(|allowed| format!("`{allowed}`")).collect();
    denied(format!("this token does not allow the topic `{filter}`; it allows {}", allowed.join(", ")))
}

fn denied(message: String) -> Refused {
    Refused::new(ErrorCode::Denied, message)
}

/// A stream that a token has open, for as long as it is.
pub(crate) struct Lease {
    access: Arc<Access>,
    token: String,
    ticket: Option<Ticket>,
    client: ClientId,
}

impl Drop for Lease {
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
