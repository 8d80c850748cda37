//! The query parameters of each operation, in one table of names; [`query`](super::query) parses their values. Others are
//! refused: if a misspelt parameter were ignored, the request would subscribe to everything, or lose a type. Each name of the
//! table is a variant of an enum, so that a parameter without a value that is parsed does not compile.
//!
//! It works on text alone, like [`query`](super::query), for the same fuzz target.

use std::borrow::Cow;

use form_urlencoded::parse;
use sse_bus::protocol::{ErrorCode, Refused};

use crate::nearest::nearest;

/// The parameters of one operation.
pub(super) trait Parameter: Copy + 'static {
    const OPERATION: Operation;
    /// All names. A parameter can have several.
    const NAMES: &'static [(&'static str, Self)];
}

macro_rules! parameters {
    ($(#[$doc:meta])* $type:ident of $operation:ident, $names:ident { $($variant:ident = $($name:literal)|+,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $type { $($variant,)* }

        const $names: &[&str] = &[$($($name,)+)*];

        impl Parameter for $type {
            const OPERATION: Operation = Operation::$operation;
            const NAMES: &'static [(&'static str, $type)] = &[$($(($name, $type::$variant),)+)*];
        }
    };
}

parameters! {
    /// The parameters of a stream.
    StreamParameter of Stream, STREAM {
        Topic = "topic",
        Client = "client",
        Since = "since",
        LastEventId = "last_event_id" | "lastEventId" | "Last-Event-ID",
        Slow = "slow",
        PastOnly = "past_only",
        Format = "format",
        Heartbeat = "heartbeat",
        Position = "position",
        Ticket = "ticket",
    }
}

parameters! {
    /// The parameters of a publish.
    PublishParameter of Publish, PUBLISH {
        Type = "type",
        To = "to",
        Retain = "retain",
        Ttl = "ttl",
        Ack = "ack",
        Header = "header",
        DedupId = "dedup_id",
        In = "in",
        At = "at",
        ScheduleId = "schedule_id",
    }
}

parameters! {
    /// The parameters of a kick.
    KickParameter of Kick, KICK {
        For = "for",
    }
}

parameters! {
    /// The parameters of the creation of a consumer.
    ConsumerParameter of CreateConsumer, CREATE_CONSUMER {
        Filter = "filter",
        From = "from",
        AckWait = "ack_wait",
        MaxAttempts = "max_attempts",
        Backoff = "backoff",
        MaxInFlight = "max_in_flight",
        OnFull = "on_full",
        InactiveAfter = "inactive_after",
    }
}

parameters! {
    /// The parameters of a move of a consumer.
    SeekParameter of SeekConsumer, SEEK_CONSUMER {
        To = "to",
    }
}

parameters! {
    /// The parameters of a request for deliveries.
    NextParameter of NextDeliveries, NEXT_DELIVERIES {
        Count = "count",
        Wait = "wait",
        Worker = "worker",
    }
}

parameters! {
    /// The parameters of a stream of deliveries.
    DeliveriesParameter of Deliveries, DELIVERIES {
        MaxInFlight = "max_in_flight",
        Worker = "worker",
        Format = "format",
        Heartbeat = "heartbeat",
    }
}

parameters! {
    /// The parameters of a request.
    RequestParameter of Request, REQUEST {
        Type = "type",
        Header = "header",
        Timeout = "timeout",
        Replies = "replies",
    }
}

parameters! {
    /// The parameters of a stream of requests.
    RespondParameter of Respond, RESPOND {
        Topic = "topic",
        Client = "client",
        MaxInFlight = "max_in_flight",
        Heartbeat = "heartbeat",
    }
}

parameters! {
    /// The parameters of a list of dead letters.
    DeadListParameter of ListDead, LIST_DEAD {
        Id = "id",
        Filter = "filter",
        After = "after",
    }
}

parameters! {
    /// The parameters of a request that retries or drops dead letters.
    DeadParameter of ChangeDead, CHANGE_DEAD {
        Id = "id",
        Filter = "filter",
        All = "all",
    }
}

parameters! {
    /// The parameters of a reply.
    ReplyParameter of Reply, REPLY {
        Header = "header",
        Error = "error",
    }
}

/// Returns the parameters of a query with their values, in order.
///
/// # Errors
///
/// The query has a parameter that the operation does not have. See [`Operation::check`].
pub(super) fn read<P: Parameter>(query: &str) -> Result<impl Iterator<Item = (P, Cow<'_, str>)>, Refused> {
    P::OPERATION.check(query)?;
    let parameter = |name: &str| P::NAMES.iter().find(|(known, _)| *known == name).map(|(_, parameter)| *parameter);
    Ok(parse(query.as_bytes()).filter_map(move |(name, value)| Some((parameter(&name)?, value))))
}

/// What a request does, as far as parameters go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Stream,
    Publish,
    Ticket,
    Kick,
    CreateConsumer,
    SeekConsumer,
    NextDeliveries,
    Deliveries,
    ListDead,
    ChangeDead,
    Request,
    Respond,
    Reply,
    /// Opens the dashboard, whose URL contains what it shows.
    Page,
    /// Any other request; it takes no parameters.
    Other,
}

impl Operation {
    const ALL: [Operation; 15] = [
        Operation::Stream,
        Operation::Publish,
        Operation::Ticket,
        Operation::Kick,
        Operation::CreateConsumer,
        Operation::SeekConsumer,
        Operation::NextDeliveries,
        Operation::Deliveries,
        Operation::ListDead,
        Operation::ChangeDead,
        Operation::Request,
        Operation::Respond,
        Operation::Reply,
        Operation::Page,
        Operation::Other,
    ];

    /// The names of the parameters; some have several.
    fn parameters(self) -> &'static [&'static str] {
        match self {
            Operation::Stream => STREAM,
            Operation::Publish => PUBLISH,
            Operation::Ticket => &["client"],
            Operation::Kick => KICK,
            Operation::CreateConsumer => CREATE_CONSUMER,
            Operation::SeekConsumer => SEEK_CONSUMER,
            Operation::NextDeliveries => NEXT_DELIVERIES,
            Operation::Deliveries => DELIVERIES,
            Operation::ListDead => LIST_DEAD,
            Operation::ChangeDead => CHANGE_DEAD,
            Operation::Request => REQUEST,
            Operation::Respond => RESPOND,
            Operation::Reply => REPLY,
            Operation::Page => &["topic", "since"],
            Operation::Other => &[],
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Operation::Stream => "a stream (GET /events)",
            Operation::Publish => "a publish (POST /events/TOPIC)",
            Operation::Ticket => "POST /tickets",
            Operation::Kick => "a kick (DELETE /clients/CLIENT)",
            Operation::CreateConsumer => "the creation of a consumer (PUT /consumers/NAME)",
            Operation::SeekConsumer => "POST /consumers/NAME/seek",
            Operation::NextDeliveries => "POST /consumers/NAME/next",
            Operation::Deliveries => "deliveries (GET /consumers/NAME/events)",
            Operation::ListDead => "a list of dead letters (GET /consumers/NAME/dead)",
            Operation::ChangeDead => "a change of dead letters (POST or DELETE /consumers/NAME/dead)",
            Operation::Request => "a request (POST /requests/TOPIC)",
            Operation::Respond => "a stream of requests (GET /requests)",
            Operation::Reply => "a reply (POST /replies/ADDRESS)",
            Operation::Page => "the dashboard at /",
            Operation::Other => "this request",
        }
    }

    /// Refuses a query with a parameter that this operation does not have. Ignores those that begin with `_`, which libraries
    /// add to get around caches, and `datastar`, which that library sends with every request.
    pub(super) fn check(self, query: &str) -> Result<(), Refused> {
        let is_known = |name: &str| name.starts_with('_') || name == "datastar" || self.parameters().contains(&name);
        match parse(query.as_bytes()).find(|(name, _)| !is_known(name)) {
            Some((name, _)) => Err(Refused::new(ErrorCode::ParameterUnknown, self.unknown(&name))),
            None => Ok(()),
        }
    }

    fn unknown(self, name: &str) -> String {
        const SHOWN: usize = 60;
        let shown: String = name.chars().take(SHOWN).collect();
        if let Some(other) = Operation::ALL.into_iter().find(|other| other.parameters().contains(&name)) {
            return format!("`{shown}` is a parameter of {}, not of {}", other.describe(), self.describe());
        }
        let meant = nearest(&name.to_lowercase().replace('-', "_"), self.parameters());
        match (meant, self.parameters()) {
            (Some(meant), _) => format!("unknown parameter `{shown}`, did you mean `{meant}`?"),
            (None, []) => format!("unknown parameter `{shown}`; {} takes none", self.describe()),
            (None, known) => format!("unknown parameter `{shown}`; {} takes {}", self.describe(), known.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_parameter_is_refused_with_what_was_meant() {
        for (operation, query, said) in [
            (Operation::Stream, "topics=a", "unknown parameter `topics`, did you mean `topic`?"),
            (Operation::Stream, "topic=a&sinse=all", "did you mean `since`?"),
            (Operation::Stream, "past-only=1", "did you mean `past_only`?"),
            (Operation::Stream, "LastEventID=a-1", "did you mean `last_event_id`?"),
            (Operation::Stream, "type=a", "`type` is a parameter of a publish (POST /events/TOPIC), not of a stream"),
            (Operation::Publish, "typ=done", "did you mean `type`?"),
            (Operation::Publish, "since=all", "`since` is a parameter of a stream (GET /events), not of a publish"),
            (
                Operation::Publish,
                "colour=red",
                "takes type, to, retain, ttl, ack, header, dedup_id, in, at, schedule_id",
            ),
            (Operation::Ticket, "cliend=a", "did you mean `client`?"),
            (Operation::Kick, "far=1m", "did you mean `for`?"),
            (Operation::CreateConsumer, "filters=a", "did you mean `filter`?"),
            (Operation::SeekConsumer, "from=all", "`from` is a parameter of the creation of a consumer"),
            (Operation::NextDeliveries, "counts=2", "did you mean `count`?"),
            (Operation::ChangeDead, "after=a-1", "`after` is a parameter of a list of dead letters"),
            (Operation::Page, "topics=a", "did you mean `topic`?"),
            (Operation::Other, "pretty", "unknown parameter `pretty`; this request takes none"),
            (Operation::Other, "%66oo%0a=1", "`foo\\n`"),
            (Operation::Other, "=1", "unknown parameter ``"),
        ] {
            let refused = operation.check(query).unwrap_err();
            assert_eq!(refused.code, ErrorCode::ParameterUnknown);
            assert!(refused.message.contains(said), "{query}: {}", refused.message);
        }
        let long = Operation::Other.check(&"x".repeat(10_000)).unwrap_err();
        assert!(long.message.len() < 200, "{}", long.message);
    }

    #[test]
    fn what_libraries_add_to_every_request_is_ignored() {
        for operation in Operation::ALL {
            assert_eq!(operation.check("_=1712&_cache&datastar=%7B%7D&&"), Ok(()));
            let all: String = operation.parameters().iter().flat_map(|name| [name, "=x&"]).collect();
            assert_eq!(operation.check(&all), Ok(()));
        }
    }
}
