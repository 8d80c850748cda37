//! Every bound of the bus, in one place, with what happens at it.
//!
//! The constants are fixed by the protocol or protect the process; [`Limits`] holds what a daemon may set.

use std::{ops::RangeInclusive, time::Duration};

use crate::topic::FilterSet;

/// Bytes of a topic or a filter. Longer ones are refused.
pub const TOPIC_MAX: usize = 255;
/// Bytes of an event's type. Longer ones are refused.
pub const TYPE_MAX: usize = 255;
/// Headers of an event. More are refused.
pub const HEADERS_MAX: usize = 16;
/// Bytes of an event's headers, names and values together. More are refused.
pub const HEADERS_BYTES: usize = 4 << 10;
/// Bytes of the name a client gives itself. Longer ones are refused.
pub const NAME_MAX: usize = 128;
/// Filters of one subscription. More are refused.
pub const FILTERS_MAX: usize = 64;
/// The part of the history budget that each topic of the bus itself may have, one in 16, whatever its other bounds are. Its
/// oldest events go first, so that clients that come and go displace no history of users.
pub const SYSTEM_SHARE: usize = 16;
/// Bytes of a client's filters in an event about it on `$sys/clients`.
pub const PRESENCE_FILTERS: usize = 1 << 10;
/// About so many bytes a refusal's message has at most. What is longer, because it shows what was sent, is cut.
pub const MESSAGE_MAX: usize = 1000;

/// Bytes of one binary frame, its length prefix not counted. A longer one is answered and ends the connection. Of
/// requests a daemon takes less, see [`Limits::frame_bytes`].
pub const FRAME_MAX: usize = 4 << 20;
/// Bytes of one JSON line. Of requests a daemon takes less, see [`Limits::line_bytes`].
pub const LINE_MAX: usize = 4 << 20;
/// Bytes of requests that are decoded as one batch, and how many requests, so that others have their turn soon.
pub const READ_MAX: usize = 64 << 10;
/// See [`READ_MAX`].
pub const BATCH_MAX: u64 = 64;
/// Bytes that one call of [`Bus::read`](crate::bus::Bus::read) returns, unless a single event is larger. See
/// [`REPLAY_BUFFERS`].
pub const DELIVER_MAX: usize = 48 << 10;
/// History entries that one call of [`Bus::read`](crate::bus::Bus::read) looks at.
pub const SCAN_MAX: usize = 4096;
/// A subscriber whose filters match at most so many topics is served by looking each of them up.
pub const FEW_TOPICS: usize = 32;
/// Topics that one call of the bus lists.
pub const TOPICS_AT_ONCE: usize = 256;
/// Clients that one call of the bus describes or disconnects.
pub const CLIENTS_AT_ONCE: usize = 64;
/// Lost events that are known one by one, 16 bytes each. A cursor that has not accounted for the others is told a gap whose
/// number of events is not known.
pub const LOSSES_MAX: usize = 65_536;
/// Events that one call of the bus lets go, at most, besides those whose place a new one takes. When more are beyond
/// their bounds, because these have changed or time has jumped, the next calls let them go, and whoever reads the past
/// waits for that.
pub const EVICT_MAX: usize = 64;
/// Expired retained events that are removed at once to make room for another. Where that is not enough, the other is refused.
pub const RECLAIM_MAX: usize = 1024;
/// Subscribers that one call of the bus wakes one by one, for heartbeats or because they were left behind together.
pub const CALLS_MAX: usize = 512;
/// Bytes of the newest events that stay in memory when they are on disk as well, as history charges them.
pub const WARM: usize = 8 << 20;

/// Bytes of unicast events that wait for clients, all together; each event counts once for each format, however many clients
/// it waits for. Beyond it no client takes another.
pub const UNICAST_BUFFERS: usize = 64 << 20;

/// Bytes of history that are copied for single subscribers and wait for their sockets, all together. Beyond it a read returns
/// one event, which all subscribers that it waits for share.
pub const REPLAY_BUFFERS: usize = 64 << 20;
/// Bytes of the head of an HTTP request. A longer one is answered 431, and its connection closed.
pub const HEAD_MAX: usize = 64 << 10;
/// Bytes of memory, about, of all connections to the port that have sent something and have not authenticated. Above it
/// the oldest of them are closed.
pub const UNAUTHENTICATED_BYTES: usize = 32 << 20;

/// Streams of one HTTP/2 connection at once. The peer is told; those it opens beyond are refused for it to repeat.
pub const HTTP2_STREAMS: u32 = 256;

/// Tokens at once. More are not made until some are revoked or have expired.
pub const TOKENS_MAX: usize = 100;
/// Tickets of one token at once. More are refused until some have expired.
pub const TICKETS_MAX: usize = 1000;
/// How long a ticket is good for after it was given, and after the last stream that used it has ended.
pub const TICKET: Duration = Duration::from_mins(1);

/// A connection that has not said what it wants (first byte, HTTP head) by then is closed.
pub const FIRST_BYTE: Duration = Duration::from_secs(10);
/// A request that has begun (a line, a frame, a body) and is not whole by then is refused, and its connection closed.
pub const REQUEST: Duration = Duration::from_secs(30);
/// A subscriber that takes no byte for so long, while bytes wait for it, is closed.
pub const WRITE_STALL: Duration = Duration::from_secs(30);
/// How often a connection that is full is looked at: whether it is stalled, and whether its client was kicked.
pub const STALL_CHECK: Duration = Duration::from_secs(5);
/// How often an idle stream carries a comment, unless it asks for another interval, so that both ends notice a dead
/// connection.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// The intervals that a stream may ask for, in whole seconds. Others are refused.
pub const HEARTBEAT_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);
/// Bytes of a configuration file. A longer one is refused.
pub const CONFIG_BYTES: usize = 1 << 20;
/// A request that a [`Client`](crate::Client) has no answer to by then is given up, unless it waits for the disk.
pub const ANSWER: Duration = Duration::from_secs(10);
/// From the signal to stop until connections are cut.
pub const DRAIN: Duration = Duration::from_secs(3);
/// After that, until the daemon ends without the disk that does not take the rest of history.
pub const DISK_END: Duration = Duration::from_secs(10);

/// The bounds that a daemon's configuration sets. Each is refused with an error whose code is
/// `limit_<field>`, but for the `*_buffer` ones: what does not fit those is left to history.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one event's data; at most [`EVENT_MAX`].
    pub event_bytes: usize,
    /// Topics that the bus knows at once. A topic without history, retained event or subscriber is forgotten
    /// when room is needed.
    pub topics: usize,
    /// Subscribers connected at once.
    pub subscribers: usize,
    /// Bytes that the filters of all subscribers cost, in memory: about 400 for each level of each filter, and 12 KiB for
    /// each level from the fifth behind a `*` on. Subscribers with the same filters share them.
    pub filters_bytes: usize,
    /// Publishers connected to the local socket at once.
    pub publishers: usize,
    /// Bytes of all retained events.
    pub retained_bytes: usize,
    /// Bytes of live events that wait in one feed for its slowest reader. Beyond it the reader goes on from
    /// history.
    pub feed_buffer: usize,
    /// Bytes of live events that wait in all feeds together.
    pub feeds_buffer: usize,
    /// Bytes of unicast events that wait for one client. A client whose buffer is full does not take another.
    pub unicast_buffer: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            event_bytes: 256 << 10,
            topics: 100_000,
            subscribers: 50_000,
            filters_bytes: 128 << 20,
            publishers: 10_000,
            retained_bytes: 16 << 20,
            feed_buffer: 1 << 20,
            feeds_buffer: 64 << 20,
            unicast_buffer: 1 << 20,
        }
    }
}

impl Limits {
    /// Bytes of one request in JSON, each escape counted as the one byte that it may stand for: room for the largest
    /// event, so that nobody makes the daemon hold what it would refuse. A longer one is answered with an error and
    /// skipped to its end, and so is one beyond [`LINE_MAX`], however it is written.
    pub fn line_bytes(&self) -> usize {
        LINE_MAX.min(self.event_bytes.saturating_add(FIELDS_MAX))
    }

    /// Bytes of one request in a frame: room for the largest event. A longer one is answered with an error and skipped,
    /// beyond [`FRAME_MAX`] it ends the connection.
    pub fn frame_bytes(&self) -> usize {
        FRAME_MAX.min(self.event_bytes.saturating_add(FIELDS_MAX))
    }
}

/// Bytes that [`Limits::event_bytes`] may be: an event of that size fits a frame, whatever its other fields are.
pub const EVENT_MAX: usize = FRAME_MAX - FIELDS_MAX;

/// Bytes of everything in a request but the data: more than as many filters as there may be.
const FIELDS_MAX: usize = 64 << 10;

/// How much of the past the bus keeps. Each topic has its own three bounds; all topics share one budget. The
/// oldest events go first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events of one topic.
    pub events: usize,
    /// Bytes of one topic, each event charged with what it costs in memory.
    pub bytes: usize,
    /// Age of an event.
    pub age: Duration,
    /// Bytes of all topics together.
    pub budget: usize,
    /// Other bounds for some topics: of the rules that match a topic the first counts.
    pub rules: Vec<TopicRule>,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            events: 10_000,
            bytes: 16 << 20,
            age: Duration::from_hours(24),
            budget: 64 << 20,
            rules: Vec::new(),
        }
    }
}

/// What is different for some topics. What a rule does not name is for them as for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRule {
    /// Which topics.
    pub filters: FilterSet,
    /// See [`Retention::events`].
    pub events: Option<usize>,
    /// See [`Retention::bytes`].
    pub bytes: Option<usize>,
    /// See [`Retention::age`].
    pub age: Option<Duration>,
}
