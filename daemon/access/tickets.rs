//! Tickets: what a page puts into the URL of an `EventSource`, which cannot send a token.
//!
//! A ticket is for the streams of one client name. It is good for [`TICKET`] after it was given, while a stream that it
//! opened is there, and for [`TICKET`] after the last of them has ended: long enough to reconnect, and of no use to who
//! finds it in a history or a log later. Tickets are in memory alone.

use std::{collections::HashMap, sync::Arc, time::Instant};

use sse_bus::{
    limits::{TICKET, TICKETS_MAX},
    protocol::{ErrorCode, Refused},
    tokens::{Digest, Secret, Token},
};

/// A ticket that was presented.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    digest: Digest,
    /// The name of the client that it is for.
    pub(super) client: Arc<str>,
}

/// The tickets that were given, by their digests.
#[derive(Default)]
pub(super) struct Tickets(HashMap<Digest, Given>);

struct Given {
    /// The id of the token that it was given for.
    token: String,
    client: Arc<str>,
    /// Streams that are open with it.
    streams: usize,
    /// When it is over, if no stream is open.
    until: Instant,
}

impl Given {
    fn is_over(&self, now: Instant) -> bool {
        self.streams == 0 && self.until <= now
    }
}

impl Tickets {
    /// Gives a ticket.
    pub(super) fn give(&mut self, token: &Token, client: String, now: Instant) -> Result<Secret, Refused> {
        self.expire(now);
        if self.0.values().filter(|given| given.token == token.id).count() >= TICKETS_MAX {
            let message = format!(
                "this token has {TICKETS_MAX} tickets, as many as it may; use those, or wait {} s until some are over",
                TICKET.as_secs()
            );
            return Err(Refused::new(ErrorCode::LimitTickets, message));
        }
        let secret = Secret::random("").map_err(|e| Refused::new(ErrorCode::Other, e.to_string()))?;
        let given = Given { token: token.id.clone(), client: client.into(), streams: 0, until: now + TICKET };
        self.0.insert(Digest::of(secret.reveal()), given);
        Ok(secret)
    }

    /// A ticket that is good, with the id of its token.
    pub(super) fn find(&self, digest: &Digest, now: Instant) -> Option<(&str, Ticket)> {
        let given = self.0.get(digest).filter(|given| !given.is_over(now))?;
        Some((&given.token, Ticket { digest: digest.clone(), client: given.client.clone() }))
    }

    pub(super) fn opened(&mut self, ticket: &Ticket) {
        if let Some(given) = self.0.get_mut(&ticket.digest) {
            given.streams += 1;
        }
    }

    pub(super) fn closed(&mut self, ticket: &Ticket, now: Instant) {
        if let Some(given) = self.0.get_mut(&ticket.digest) {
            given.streams -= 1;
            given.until = now + TICKET;
        }
    }

    /// Forgets those that are over.
    pub(super) fn expire(&mut self, now: Instant) {
        self.0.retain(|_, given| !given.is_over(now));
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
        let digest = Digest::of(tickets.give(&token, "tab".into(), began).unwrap().reveal());
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
            tickets.give(&token, "tab".into(), now).unwrap();
        }
        assert_eq!(tickets.give(&token, "tab".into(), now).unwrap_err().code, ErrorCode::LimitTickets);
        tickets.give(&token, "tab".into(), now + TICKET).unwrap();
    }
}
