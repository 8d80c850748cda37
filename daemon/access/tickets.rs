//! Tickets: a page puts one into the URL of an `EventSource`, which cannot send a token.
//!
//! A ticket is for the streams of one client name. It is valid for [`TICKET`] after it was created, while one of its streams is
//! open, and for [`TICKET`] after the last of them has ended: long enough to reconnect, and useless to anyone who later finds it
//! in a browser's history or in a log. Tickets are kept in memory alone.

use std::{collections::HashMap, sync::Arc, time::Instant};

use sse_bus::{
    limits::{TICKET, TICKETS_MAX},
    protocol::{ErrorCode, Refused},
    tokens::{Digest, Secret, Token},
};

/// A valid ticket of a request.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    digest: Digest,
    /// The name of its client.
    pub(super) client: Arc<str>,
}

/// All tickets, by their digests.
#[derive(Default)]
pub(super) struct Tickets(HashMap<Digest, Issued>);

struct Issued {
    /// The ID of its token.
    token: String,
    client: Arc<str>,
    /// Number of open streams.
    streams: usize,
    /// When it expires, if no stream is open.
    until: Instant,
}

impl Issued {
    fn is_expired(&self, now: Instant) -> bool {
        self.streams == 0 && self.until <= now
    }
}

impl Tickets {
    /// Creates a ticket.
    pub(super) fn create(&mut self, token: &Token, client: String, now: Instant) -> Result<Secret, Refused> {
        self.expire(now);
        if self.0.values().filter(|issued| issued.token == token.id).count() >= TICKETS_MAX {
            let message = format!(
                "this token has {TICKETS_MAX} tickets, which is the limit; use those, or wait {} s until some expire",
                TICKET.as_secs()
            );
            return Err(Refused::new(ErrorCode::LimitTickets, message));
        }
        let secret = Secret::random("").map_err(|e| Refused::new(ErrorCode::Other, e.to_string()))?;
        let issued = Issued { token: token.id.clone(), client: client.into(), streams: 0, until: now + TICKET };
        self.0.insert(Digest::of(secret.reveal()), issued);
        Ok(secret)
    }

    /// Returns a valid ticket, with the ID of its token.
    pub(super) fn find(&self, digest: &Digest, now: Instant) -> Option<(&str, Ticket)> {
        let issued = self.0.get(digest).filter(|issued| !issued.is_expired(now))?;
        Some((&issued.token, Ticket { digest: digest.clone(), client: issued.client.clone() }))
    }

    /// Notes that a stream was opened.
    pub(super) fn opened(&mut self, ticket: &Ticket) {
        if let Some(issued) = self.0.get_mut(&ticket.digest) {
            issued.streams += 1;
        }
    }

    /// Notes that a stream has ended.
    pub(super) fn closed(&mut self, ticket: &Ticket, now: Instant) {
        if let Some(issued) = self.0.get_mut(&ticket.digest) {
            issued.streams -= 1;
            issued.until = now + TICKET;
        }
    }

    /// Removes expired tickets.
    pub(super) fn expire(&mut self, now: Instant) {
        self.0.retain(|_, issued| !issued.is_expired(now));
    }
}

#[cfg(test)]
mod tests {
    use sse_bus::tokens::{NewToken, Scope, TokenFile};

    use super::*;

    fn token() -> Token {
        let folder = tempfile::tempdir().unwrap();
        let wanted = NewToken { scopes: vec![Scope::Subscribe], ..NewToken::default() };
        TokenFile::in_directory(folder.path()).create(wanted, 1).unwrap().0
    }

    #[test]
    fn a_ticket_is_good_for_its_time_and_while_a_stream_is_open() {
        let (token, mut tickets, began) = (token(), Tickets::default(), Instant::now());
        let digest = Digest::of(tickets.create(&token, "tab".into(), began).unwrap().reveal());
        let late = began + TICKET;
        let (id, ticket) = tickets.find(&digest, began + TICKET / 2).unwrap();
        assert_eq!((id, &*ticket.client), (&*token.id, "tab"));
        tickets.opened(&ticket);
        assert!(tickets.find(&digest, late + TICKET).is_some(), "its stream is open");
        tickets.closed(&ticket, late + TICKET);
        assert!(tickets.find(&digest, late + TICKET * 3 / 2).is_some(), "it reconnects");
        assert!(tickets.find(&digest, late + TICKET * 2).is_none());
        tickets.expire(late + TICKET * 2);
        assert!(tickets.0.is_empty());
    }

    #[test]
    fn a_token_has_only_so_many() {
        let (token, mut tickets, now) = (token(), Tickets::default(), Instant::now());
        for _ in 0..TICKETS_MAX {
            tickets.create(&token, "tab".into(), now).unwrap();
        }
        assert_eq!(tickets.create(&token, "tab".into(), now).unwrap_err().code, ErrorCode::LimitTickets);
        tickets.create(&token, "tab".into(), now + TICKET).unwrap();
    }
}
