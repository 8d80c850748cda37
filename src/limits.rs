//! All limits of the bus, and what happens at each.
//!
//! The constants are fixed by the protocol or protect the process; [`Limits`] holds those that the configuration sets.

use std::{ops::RangeInclusive, time::Duration};

/// Maximum bytes of a topic or a filter. Longer ones are refused.
pub const TOPIC_MAX: usize = 255;
/// Maximum bytes of an event's type. Longer ones are refused.
pub const TYPE_MAX: usize = 255;
/// Maximum number of headers of an event. More are refused.
pub const HEADERS_MAX: usize = 16;
/// Maximum bytes of an event's headers, names and values together. More are refused.
pub const HEADERS_BYTES: usize = 4 << 10;
/// Maximum bytes of a client's name. Longer ones are refused.
pub const NAME_MAX: usize = 128;
/// Maximum number of filters of one subscription. More are refused.
pub const FILTERS_MAX: usize = 64;
/// Maximum number of topics that the description of a publisher names: the last ones to which it published. Earlier ones are
/// left out.
pub const PUBLISHED_TO: usize = 8;
/// Maximum number of presence events that wait to be sent to other nodes. Further ones are counted and dropped.
pub const PRESENCE_WAITING: usize = 16 << 10;
/// Maximum bytes of a client's filters in an event on `$sys/clients`. Further filters are left out.
pub const PRESENCE_FILTERS: usize = 1 << 10;
/// Approximate maximum bytes of an error message. A longer one, which quotes the request, is cut.
pub const MESSAGE_MAX: usize = 1000;

/// Maximum bytes of a binary frame, not counting its length prefix. A longer frame is answered with an error, and the
/// connection is closed. Requests have a lower limit, see [`Limits::frame_bytes`].
pub const FRAME_MAX: usize = 4 << 20;
/// Maximum bytes of a JSON line. Requests have a lower limit, see [`Limits::line_bytes`].
pub const LINE_MAX: usize = 4 << 20;
/// Maximum bytes of requests that are decoded as one batch, so that one connection does not delay the others. The
/// next batch has the rest.
pub const READ_MAX: usize = 64 << 10;
/// Maximum number of requests in such a batch, see [`READ_MAX`]. The next batch has the rest.
pub const BATCH_MAX: u64 = 64;
/// Maximum bytes of the body of an HTTP request that publishes several events: the longest line, and one read. Larger bodies
/// are refused.
pub const BATCH_BODY: usize = LINE_MAX + READ_MAX;
/// Maximum number of events in such a body. Bodies with more are refused.
pub const BATCH_LINES: usize = 10_000;
/// Maximum bytes that one call of [`Bus::read`](crate::bus::Bus::read) returns, unless a single event is larger. The
/// next calls return the rest. See [`REPLAY_BUFFERS`].
pub const DELIVER_MAX: usize = 48 << 10;
/// Maximum number of history entries that one call of [`Bus::read`](crate::bus::Bus::read) examines. The next
/// calls continue.
pub const SCAN_MAX: usize = 4096;
/// Maximum number of topics that a read looks up one by one. If the filters of a subscriber match more, the read tests each
/// event of the log.
pub const FEW_TOPICS: usize = 32;
/// Maximum number of topics that one call of the bus lists. The next calls list the rest.
pub const TOPICS_AT_ONCE: usize = 256;
/// Maximum number of clients that one call of the bus describes or disconnects. The next calls process the rest.
pub const CLIENTS_AT_ONCE: usize = 64;
/// Maximum number of lost events that are tracked individually, 16 bytes each. A cursor that is behind the oldest of
/// them reports a gap without a number of events.
pub const LOSSES_MAX: usize = 65_536;
/// Maximum number of events that one call of the bus evicts, besides those that make room for a new event. If more
/// exceed their bounds, because the bounds have changed or time has jumped, the next calls evict them, and readers of
/// history wait until then.
pub const EVICT_MAX: usize = 64;
/// Maximum number of expired events that one call of the bus removes, besides [`RECLAIM_MAX`] retained ones. The next calls
/// remove the rest.
pub const EXPIRE_MAX: usize = 256;
/// Maximum number of expired retained events that one publish removes to make room for its own. If that is not enough, the
/// publish is refused.
pub const RECLAIM_MAX: usize = 1024;
/// Maximum number of subscribers that one call of the bus wakes one by one, for heartbeats or because they were left behind
/// together. The next calls wake the rest.
pub const CALLS_MAX: usize = 512;
/// Maximum number of feeds that one call of the bus appends an event to, or seals, and of subscribers that it then wakes; each
/// 2 KiB of an event count as another feed. The next calls do the rest. Small in debug builds, so that tests do not need
/// thousands of feeds.
pub const FEEDS_AT_ONCE: usize = if cfg!(debug_assertions) { 2 } else { 256 };
/// Maximum number of events that wait to be appended to very many feeds, see [`FEEDS_AT_ONCE`]; each 2 KiB of an event count as
/// another event. The next such publish appends them all before it returns.
pub const BROADCASTS_MAX: usize = 256;
/// Bytes of the newest events that stay in memory even if they are on disk, as history charges them. Older events are
/// read from disk.
pub const HOT_BYTES: usize = 8 << 20;

/// Maximum number of consumers. More are refused.
pub const CONSUMERS_MAX: usize = 10_000;
/// Maximum number of consumers that one call of the bus describes.
pub const CONSUMERS_AT_ONCE: usize = 64;
/// Maximum number of workers of all consumers. More are refused.
pub const WORKERS_MAX: usize = 10_000;
/// Maximum number of events of all consumers that are in flight or wait to be delivered again, about 200 bytes each. At the
/// limit consumers deliver no further events until some are finished.
pub const UNFINISHED_MAX: usize = 1_000_000;
/// Maximum number of events of one consumer that are in flight or wait to be delivered again. A higher setting is refused.
pub const IN_FLIGHT_MAX: usize = 10_000;
/// Maximum number of dead letters of one consumer. At the limit it delivers nothing until some are retried or dropped; those
/// in flight may still be added.
pub const DEAD_MAX: usize = 10_000;
/// Maximum number of dead letters of all consumers. At the limit, those with dead letters deliver nothing.
pub const DEAD_ALL_MAX: usize = 100_000;
/// Maximum number of dead letters that one call of the bus lists. The next calls list the rest.
pub const DEAD_AT_ONCE: usize = 256;
/// Approximate maximum bytes of data of the dead letters that one call of the bus lists, unless that of one is larger.
pub const DEAD_BYTES_AT_ONCE: usize = 1 << 20;
/// Maximum bytes of the text with which a worker rejects an event. The rest is cut.
pub const REASON_MAX: usize = 1000;
/// Maximum number of values of a consumer's back-off. More are refused.
pub const BACKOFF_MAX: usize = 16;
/// Maximum time for which a worker or the back-off of a consumer delays an event. A longer one is refused.
pub const DELAY_MAX: Duration = Duration::from_hours(7 * 24);
/// Maximum number of tokens of deliveries in one request. More are refused.
pub const SETTLE_MAX: usize = 10_000;
/// Maximum bytes of the body of an HTTP request with tokens of deliveries. Larger bodies are refused.
pub const SETTLE_BODY: usize = 1 << 20;
/// Maximum time for which an HTTP request waits for deliveries. A longer one is refused.
pub const NEXT_WAIT_MAX: Duration = Duration::from_mins(1);
/// Maximum number of deliveries that one call of the bus returns to a worker. The next calls return the rest.
pub const TAKE_MAX: usize = 64;
/// Maximum number of changes of consumers that one call of the bus returns to be written. The next calls return the
/// rest. Small in debug builds, so that tests
/// do not need thousands of events.
pub const CONSUMER_CHANGES: usize = if cfg!(debug_assertions) { 2 } else { 1024 };
/// Number of events or consumers in one step of the work that the deletion or move of a consumer, a worker that leaves, or an
/// event for many consumers cause. Small in debug builds, so that tests do not need hundreds of them.
pub const CHORES_AT_ONCE: usize = if cfg!(debug_assertions) { 8 } else { 256 };
/// How long a worker that was woken may take before another one of its consumer has the next turn.
pub const TURN: Duration = Duration::from_millis(100);

/// Maximum number of responders. More are refused.
pub const RESPONDERS_MAX: usize = 1_000;
/// Maximum number of requests that one responder receives before it has replied to one of them. A higher setting is refused.
pub const RESPONDER_SLOTS_MAX: usize = 1_000;
/// Maximum number of unanswered requests. More are refused.
pub const REQUESTS_MAX: usize = 10_000;
/// Maximum bytes of all unanswered requests and of the replies that their clients have not received. Above the limit requests
/// and replies are refused.
pub const REQUESTS_BYTES: usize = 64 << 20;
/// Maximum number of replies to one request. A higher number is refused.
pub const REPLIES_MAX: usize = 100;
/// Number of filters that one call of the bus compares with the topics of waiting requests, and of responders that it compares
/// with those requests. The next calls compare the rest.
/// Small in debug builds, so that tests do not need thousands of requests.
pub const REQUESTS_AT_ONCE: usize = if cfg!(debug_assertions) { 4 } else { 1024 };
/// Time after which a request without replies fails, unless it names another.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time that a request can wait. A longer one is refused.
pub const REQUEST_TIMEOUT_MAX: Duration = Duration::from_hours(1);

/// Maximum number of other nodes of a shared bus. Further ones are ignored.
pub const NODES_MAX: usize = 256;
/// How often a node announces itself to the others.
pub const NODE_ANNOUNCE: Duration = Duration::from_secs(2);
/// Time without an announcement after which a node is lost.
pub const NODE_LOST: Duration = Duration::from_secs(7);
/// How long a lost node is listed, and named by answers that it has no part in.
pub const NODE_LOST_KEPT: Duration = Duration::from_mins(1);
/// How long a node waits for the answers of the others. Then the answer is partial, and names the nodes that are missing.
pub const NODE_WAIT: Duration = Duration::from_secs(1);
/// Age after which a message of another node has no effect, because its sender does not wait any more.
pub const NODE_MESSAGE_AGE: Duration = Duration::from_secs(2);
/// Maximum number of questions of other nodes that a node works on. It does not answer further ones, which the other
/// nodes report.
pub const NODE_QUESTIONS_MAX: usize = 64;
/// Maximum number of topics in one question for subscribers. The subscribers of further ones are not counted.
pub const NODE_TOPICS_MAX: usize = 1024;
/// How long a node that is behind delays the unicasts of other nodes, so that they arrive after earlier events.
pub const NODE_ORDER_WAIT: Duration = Duration::from_millis(500);
/// Maximum number of unicasts of other nodes that wait. Further ones are not delivered, which the other nodes report.
pub const NODE_UNICASTS_MAX: usize = 1024;
/// Maximum bytes of the answers to one question. The nodes whose answers are larger count as missing.
pub const NODE_ANSWERS_BYTES: usize = 64 << 20;
/// How long a publish waits for the number of subscribers of the other nodes. It waits for the log at the same time.
pub const NODE_COUNT_WAIT: Duration = Duration::from_millis(250);
/// How long the number of a topic's subscribers on the other nodes is used again.
pub const NODE_COUNT_KEPT: Duration = Duration::from_secs(1);
/// Maximum number of topics for which such numbers are kept. At the limit all are forgotten.
pub const NODE_COUNTS_MAX: usize = 4096;

/// Maximum bytes of the name of a publish, by which a repeat is recognized. A longer one is refused.
pub const DEDUP_ID_MAX: usize = 128;
/// How long a repeat of a named publish is recognized.
pub const DEDUP_TIME: Duration = Duration::from_mins(2);
/// Maximum number of names of publishes that are kept, at most about 600 bytes each. At the limit the oldest is forgotten.
pub const DEDUP_IDS_MAX: usize = 10_000;
/// Maximum number of publishers whose numbers are kept, at most about 400 bytes each. At the limit the one that has not published
/// for the longest time is forgotten.
pub const PUBLISHERS_MAX: usize = 10_000;
/// Maximum number of ranges of refused numbers that are kept for a publisher. At the limit the first two become one, with the
/// numbers between them.
pub const GAPS_MAX: usize = 16;

/// Maximum number of schedules. More are refused.
pub const SCHEDULES_MAX: usize = 10_000;
/// Maximum bytes of the events of all schedules. More are refused.
pub const SCHEDULES_BYTES: usize = 16 << 20;
/// Maximum time after which a scheduled event is published. A longer one is refused.
pub const SCHEDULE_MAX: Duration = Duration::from_hours(366 * 24);
/// Maximum number of scheduled events that one call of the bus publishes, and of schedules that it lists.
pub const SCHEDULES_AT_ONCE: usize = 64;
/// The longest pause before the bus tries again to publish a scheduled event that was refused.
pub const SCHEDULE_RETRY: Duration = Duration::from_mins(1);

/// Maximum bytes of unicast events that wait for all clients together. Each event counts once per format, however many
/// clients it waits for. At the limit further unicast events reach no client.
pub const UNICAST_BUFFERS: usize = 64 << 20;

/// Maximum bytes of history that are copied for single subscribers and wait for their sockets, all together. Above the limit
/// a read returns one event, shared by all subscribers that it waits for.
pub const REPLAY_BUFFERS: usize = 64 << 20;
/// Maximum bytes of the head of an HTTP request. A longer one is refused with status 431, and its connection is
/// closed.
pub const HEAD_MAX: usize = 64 << 10;
/// Approximate maximum bytes of memory of all connections to the port that have sent something and have not authenticated.
/// Above the limit the oldest of them are closed.
pub const UNAUTHENTICATED_BYTES: usize = 32 << 20;

/// Maximum number of concurrent streams of an HTTP/2 connection. The peer is notified of it; further streams are
/// refused and can be retried.
pub const HTTP2_STREAMS: u32 = 256;

/// Maximum number of tokens. No more are created until some are revoked or expire.
pub const TOKENS_MAX: usize = 100;
/// Maximum number of tickets of one token. More are refused until some expire.
pub const TICKETS_MAX: usize = 1000;
/// How long a ticket is valid after it was issued, and after the last stream that used it has ended.
pub const TICKET: Duration = Duration::from_mins(1);

/// Maximum number of clients that are kept out after a kick. More are refused.
pub const KEPT_OUT_MAX: usize = 1000;
/// Maximum time for which a client is kept out. A longer one is refused.
pub const KEEP_OUT_MAX: Duration = Duration::from_hours(24);

/// How long a new connection may take to send its first byte or its HTTP head. Then it is closed.
pub const FIRST_BYTE: Duration = Duration::from_secs(10);
/// How long a request that has begun (a line, a frame, a body) may take to arrive. Then it is refused and its
/// connection closed.
pub const REQUEST: Duration = Duration::from_secs(30);
/// How long a subscriber may accept no byte while bytes wait for it. Then it is disconnected.
pub const WRITE_STALL: Duration = Duration::from_secs(30);
/// How often a connection whose socket is full is checked for a stall and for being kicked.
pub const STALL_CHECK: Duration = Duration::from_secs(5);
/// How often an idle stream carries a comment, so that both ends notice a dead connection. A request can choose another
/// interval.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// The intervals that a request can choose, in whole seconds. Others are refused.
pub const HEARTBEAT_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);
/// Maximum bytes of the configuration file. A longer one is refused.
pub const CONFIG_BYTES: usize = 1 << 20;
/// How long a [`Client`](crate::Client) waits for the reply to a request that does not wait for the disk. Then the request
/// fails.
pub const REPLY: Duration = Duration::from_secs(10);
/// How long connections may take to end after the signal to stop. Then they are closed.
pub const DRAIN: Duration = Duration::from_secs(3);
/// How long the daemon waits after that for a disk that does not accept the rest of history. Then that rest is lost.
pub const DISK_END: Duration = Duration::from_secs(10);

/// The limits that the daemon's configuration sets. What exceeds one is refused with the error code `limit_<field>`,
/// except for the `*_buffer` limits: subscribers read from history what does not fit a buffer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Maximum bytes of an event's data; at most [`EVENT_MAX`].
    pub event_bytes: usize,
    /// Maximum number of topics. A topic without history, retained event and subscriber is removed when room is
    /// needed.
    pub topics: usize,
    /// Maximum number of connected subscribers.
    pub subscribers: usize,
    /// Maximum bytes of memory for the filters of all subscribers: about 400 for each level of each filter, and 12 KiB for
    /// each level from the fifth behind a `*` on. Subscribers with the same filters share them.
    pub filters_bytes: usize,
    /// Maximum number of publishers connected to the local socket.
    pub publishers: usize,
    /// Maximum bytes of all retained events.
    pub retained_bytes: usize,
    /// Maximum bytes of live events that wait in one feed for its slowest reader. Above the limit that reader continues
    /// from history.
    pub feed_buffer: usize,
    /// Maximum bytes of live events that wait in all feeds together.
    pub feeds_buffer: usize,
    /// Maximum bytes of unicast events that wait for one client. A client whose buffer is full receives no more of
    /// them.
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
    /// Returns the maximum bytes of a request in JSON, each escape counted as the one byte that it may stand for. This
    /// is enough for the largest event, so that the daemon never buffers what it would refuse. A longer request, or one
    /// above [`LINE_MAX`] bytes as sent, is answered with an error and skipped to its end.
    pub fn line_bytes(&self) -> usize {
        LINE_MAX.min(self.event_bytes.saturating_add(FIELDS_MAX))
    }

    /// Returns the maximum bytes of a request in a frame, enough for the largest event. A longer request is answered
    /// with an error and skipped; above [`FRAME_MAX`] it ends the connection.
    pub fn frame_bytes(&self) -> usize {
        FRAME_MAX.min(self.event_bytes.saturating_add(FIELDS_MAX))
    }
}

/// Maximum of [`Limits::event_bytes`]: an event of that size fits a frame, whatever its other fields are.
pub const EVENT_MAX: usize = FRAME_MAX - FIELDS_MAX;

/// Bytes reserved for the fields of a request other than the data: more than the maximum number of filters needs.
const FIELDS_MAX: usize = 64 << 10;
