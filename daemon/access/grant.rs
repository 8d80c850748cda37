//! What a caller may do: everything if its connection needs no token (the daemon's own user, or a process that may use the
//! local socket), otherwise what its token allows.

use std::sync::Arc;

use sse_bus::{
    Filter, FilterSet, Topic,
    bus::{
        CLIENTS_TOPIC, NODES_TOPIC,
        consumers::{CONSUMERS_TOPIC, sent_topic},
        schedules::SCHEDULES_TOPIC,
    },
    protocol::{ErrorCode, Refused, Subscribe},
    tokens::{Scope, Token},
};

use super::tickets::Ticket;

/// What a caller may do.
#[derive(Clone, Debug)]
pub(crate) enum Grant {
    /// A process of the daemon's own user, or one that may use the local socket.
    Everything,
    /// What the token allows.
    Token(Arc<Token>),
    /// Streams of one client, as far as the token allows.
    Ticket(Arc<Token>, Ticket),
}

impl Grant {
    /// Refuses an operation whose scope is not granted.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), Refused> {
        let is_allowed = match self {
            Grant::Everything => true,
            Grant::Token(token) => token.allows(scope),
            Grant::Ticket(token, _) => scope == Scope::Subscribe && token.allows(scope),
        };
        if is_allowed {
            return Ok(());
        }
        let what = if matches!(self, Grant::Ticket(..)) { "ticket" } else { "token" };
        Err(denied(format!("this {what} does not allow to {}; create one with --scope {scope}", verb(scope))))
    }

    /// Refuses a topic to which the token does not allow to publish.
    pub(super) fn check_publish(&self, topic: &Topic) -> Result<(), Refused> {
        self.require(Scope::Publish)?;
        // Every topic is a filter, too.
        match (self.token(), Filter::parse(topic.as_str())) {
            (Some(token), Ok(filter)) if !token.covers(&filter) => Err(not_covered(token, &filter)),
            _ => Ok(()),
        }
    }

    /// Sets the filters of a subscription that names none to those of the token, and the name of the client to the one that
    /// the ticket is for.
    pub(crate) fn complete(&self, subscribe: &mut Subscribe) -> Result<(), Refused> {
        self.require(Scope::Subscribe)?;
        if let Some(token) = self.token().filter(|_| subscribe.filters.is_empty()) {
            subscribe.filters = token.topics.iter().map(ToString::to_string).collect();
        }
        if let Grant::Ticket(_, ticket) = self {
            match &subscribe.client {
                Some(name) if **name != *ticket.client => {
                    let client = ticket.client.escape_debug();
                    return Err(denied(format!("this ticket is for the client `{client}`; get one for each client")));
                }
                _ => subscribe.client = Some(ticket.client.to_string()),
            }
        }
        Ok(())
    }

    /// Refuses filters that the token does not allow.
    pub(crate) fn check_filters(&self, filters: &FilterSet) -> Result<(), Refused> {
        let Some(token) = self.token() else { return Ok(()) };
        // They show what GET /clients, /consumers, /nodes and /schedules show, whatever the topics of the token are.
        let is_matched = |topic: &&str| Topic::parse(topic).is_ok_and(|topic| filters.matches(&topic));
        if [CLIENTS_TOPIC, CONSUMERS_TOPIC, NODES_TOPIC, SCHEDULES_TOPIC].iter().any(is_matched) {
            self.require(Scope::Admin)?;
        }
        filters.iter().find(|filter| !token.covers(filter)).map_or(Ok(()), |filter| Err(not_covered(token, filter)))
    }

    /// Refuses to work for a consumer with these filters.
    pub(crate) fn check_work(&self, filters: &FilterSet) -> Result<(), Refused> {
        self.require(Scope::Work)?;
        self.check_filters(filters)
    }

    /// Refuses to see or change any consumer.
    pub(crate) fn require_consumers(&self) -> Result<(), Refused> {
        self.require(Scope::Admin).or_else(|_| self.require(Scope::Work))
    }

    /// Refuses to see or change a consumer with these filters. The scope `admin` allows it for all topics, `work` for those of
    /// the token.
    pub(crate) fn check_consumer(&self, filters: &FilterSet) -> Result<(), Refused> {
        self.require(Scope::Admin).or_else(|_| self.check_work(filters))
    }

    /// Returns true if the caller may receive the events of a topic, as a subscriber or as a worker. For an event that was sent to
    /// a consumer, that is the topic with which it was sent: the filters of the consumer do not cover it.
    pub(crate) fn may_receive(&self, topic: &str) -> bool {
        let Some(token) = self.token() else { return true };
        let is_allowed = self.require(Scope::Subscribe).or_else(|_| self.require(Scope::Work)).is_ok();
        is_allowed && Filter::parse(sent_topic(topic)).is_ok_and(|topic| token.covers(&topic))
    }

    /// Returns the filters that an event sent to this client alone must match. Any event may be sent if there are none.
    pub(crate) fn topics(&self) -> &[Filter] {
        self.token().map_or(&[], |token| &token.topics)
    }

    /// Returns the token, unless none was needed.
    pub(crate) fn token(&self) -> Option<&Token> {
        match self {
            Grant::Everything => None,
            Grant::Token(token) | Grant::Ticket(token, _) => Some(token),
        }
    }
}

fn verb(scope: Scope) -> &'static str {
    match scope {
        Scope::Publish => "publish",
        Scope::Subscribe => "subscribe",
        Scope::Admin => "look at or manage the bus",
        Scope::Work => "work for consumers or manage them",
    }
}

fn not_covered(token: &Token, filter: &Filter) -> Refused {
    let allowed: Vec<_> = token.topics.iter().map(|allowed| format!("`{allowed}`")).collect();
    denied(format!("this token does not allow the topic `{filter}`; it allows {}", allowed.join(", ")))
}

/// Returns a refusal for lack of permission.
pub(super) fn denied(message: String) -> Refused {
    Refused::new(ErrorCode::Denied, message)
}
