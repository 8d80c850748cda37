//! The tables of limits: names and descriptions are the page's, values are those of the code.

use std::time::Duration;

use sse_bus::limits::{
    BACKOFF_MAX, CONFIG_BYTES, CONSUMERS_MAX, DEAD_ALL_MAX, DEAD_MAX, DEDUP_ID_MAX, DEDUP_IDS_MAX, DEDUP_TIME,
    DELAY_MAX, DISK_END, DRAIN, EVENT_MAX, FILTERS_MAX, FIRST_BYTE, FRAME_MAX, HEAD_MAX, HEADERS_BYTES, HEADERS_MAX,
    HEARTBEAT, HEARTBEAT_RANGE, HTTP2_STREAMS, IN_FLIGHT_MAX, LINE_MAX, Limits, NAME_MAX, NEXT_WAIT_MAX,
    NODE_ANSWERS_BYTES, NODE_QUESTIONS_MAX, NODE_WAIT, NODES_MAX, PUBLISHERS_MAX, REASON_MAX, REPLAY_BUFFERS,
    REPLIES_MAX, REPLY, REQUEST, REQUEST_TIMEOUT, REQUEST_TIMEOUT_MAX, REQUESTS_BYTES, REQUESTS_MAX,
    RESPONDER_SLOTS_MAX, RESPONDERS_MAX, SCHEDULE_MAX, SCHEDULES_BYTES, SCHEDULES_MAX, SETTLE_MAX, TAKE_MAX, TICKET,
    TICKETS_MAX, TOKENS_MAX, TOPIC_MAX, TYPE_MAX, UNAUTHENTICATED_BYTES, UNFINISHED_MAX, UNICAST_BUFFERS, WORKERS_MAX,
    WRITE_STALL,
};

/// The limits that the configuration sets.
pub(super) fn settable(old: &str) -> String {
    let Limits {
        event_bytes,
        topics,
        subscribers,
        filters_bytes,
        publishers,
        retained_bytes,
        feed_buffer,
        feeds_buffer,
        unicast_buffer,
    } = Limits::default();
    let values = [
        ("`event_bytes`", size(event_bytes)),
        ("`topics`", thousands(topics)),
        ("`subscribers`", thousands(subscribers)),
        ("`filters_bytes`", size(filters_bytes)),
        ("`publishers`", thousands(publishers)),
        ("`retained_bytes`", size(retained_bytes)),
        ("`feed_buffer`", size(feed_buffer)),
        ("`feeds_buffer`", size(feeds_buffer)),
        ("`unicast_buffer`", size(unicast_buffer)),
    ];
    with_values(old, &values)
}

/// The constants of the protocol and those that protect the process.
pub(super) fn fixed(old: &str) -> String {
    assert_eq!((FRAME_MAX, TOPIC_MAX), (LINE_MAX, TYPE_MAX), "the page names them together");
    let range = (HEARTBEAT_RANGE.start().as_secs(), HEARTBEAT_RANGE.end().as_secs());
    let values = [
        ("a topic, a filter, a type", format!("{TOPIC_MAX} bytes each")),
        ("headers of an event", format!("{HEADERS_MAX}; names and values together {}", size(HEADERS_BYTES))),
        ("the data of an event, at most, whatever `event_bytes` is", format!("{} bytes", millions(EVENT_MAX))),
        ("a client's name", format!("{NAME_MAX} bytes")),
        ("filters of one subscription", FILTERS_MAX.to_string()),
        ("a JSON line, a binary frame", size(LINE_MAX)),
        (
            "history that is copied for single subscribers and waits for their sockets, all together",
            size(REPLAY_BUFFERS),
        ),
        ("the head of an HTTP request", size(HEAD_MAX)),
        ("memory of all connections to the port that need a token and have not shown one", size(UNAUTHENTICATED_BYTES)),
        ("streams of one HTTP/2 connection", HTTP2_STREAMS.to_string()),
        ("events to single clients that wait, for all of these together", size(UNICAST_BUFFERS)),
        ("a `dedup_id`, the id of a schedule", format!("{DEDUP_ID_MAX} bytes")),
        ("each `dedup_id` that is kept", format!("{} s", DEDUP_TIME.as_secs())),
        (
            "kept at once: `dedup_id`s; numbered publishers",
            format!("{}; {}", thousands(DEDUP_IDS_MAX), thousands(PUBLISHERS_MAX)),
        ),
        ("schedules; bytes of their events", format!("{}; {}", thousands(SCHEDULES_MAX), size(SCHEDULES_BYTES))),
        ("until a scheduled event is published", format!("{} days", SCHEDULE_MAX.as_secs() / 86_400)),
        (
            "responders; requests at a time of one of them",
            format!("{}; {}", thousands(RESPONDERS_MAX), thousands(RESPONDER_SLOTS_MAX)),
        ),
        (
            "unanswered requests; bytes of them and of their replies",
            format!("{}; {}", thousands(REQUESTS_MAX), size(REQUESTS_BYTES)),
        ),
        ("replies to one request", REPLIES_MAX.to_string()),
        (
            "until a request without a reply fails",
            format!("{}; `timeout` sets up to {} h", seconds(REQUEST_TIMEOUT), REQUEST_TIMEOUT_MAX.as_secs() / 3600),
        ),
        ("other nodes of a shared bus", NODES_MAX.to_string()),
        ("until the answer of another node is missing", seconds(NODE_WAIT)),
        ("questions of other nodes at a time", NODE_QUESTIONS_MAX.to_string()),
        ("the answers of other nodes to one question", size(NODE_ANSWERS_BYTES)),
        ("tokens; tickets of one token", format!("{TOKENS_MAX}; {}", thousands(TICKETS_MAX))),
        ("a ticket, until it is used and after its last stream", seconds(TICKET)),
        ("until a new connection sends its first request", seconds(FIRST_BYTE)),
        ("until a request must be complete", seconds(REQUEST)),
        ("until a client gives up on a daemon that does not answer", seconds(REPLY)),
        ("until a subscriber that reads nothing is disconnected", seconds(WRITE_STALL)),
        (
            "between two heartbeats of an idle stream",
            format!("{}; `heartbeat` sets {} to {} s", seconds(HEARTBEAT), range.0, range.1),
        ),
        ("from the signal to stop until connections are closed", seconds(DRAIN)),
        ("after that, until the daemon ends although the disk has not accepted the rest of history", seconds(DISK_END)),
        ("the configuration file", size(CONFIG_BYTES)),
        ("consumers; workers of all consumers", format!("{}; {}", thousands(CONSUMERS_MAX), thousands(WORKERS_MAX))),
        (
            "events of one consumer that are in flight or wait to be delivered again; of all consumers",
            format!("{}; {}", thousands(IN_FLIGHT_MAX), millions(UNFINISHED_MAX)),
        ),
        ("dead letters of one consumer; of all", format!("{}; {}", thousands(DEAD_MAX), thousands(DEAD_ALL_MAX))),
        ("the text with which a worker rejects an event", format!("{REASON_MAX} bytes")),
        ("durations in `backoff`", BACKOFF_MAX.to_string()),
        ("`ack_wait`, each duration in `backoff`, the delay of a `nak`", days(DELAY_MAX)),
        ("tokens in one request to settle deliveries", thousands(SETTLE_MAX)),
        ("deliveries of one `POST /consumers/NAME/next`; its wait", format!("{TAKE_MAX}; {}", seconds(NEXT_WAIT_MAX))),
    ];
    with_values(old, &values)
}

/// The rows of a table with other values in the second column.
fn with_values(old: &str, values: &[(&str, String)]) -> String {
    let mut missing: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
    let mut text = String::new();
    for (number, line) in old.trim().lines().enumerate() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match values.iter().find(|(name, _)| *name == cells[0]) {
            _ if number < 2 => text.push_str(line),
            Some((name, value)) => {
                missing.retain(|other| other != name);
                text.extend(["| ", name, " | ", value, " | ", &cells[2..].join(" | "), " |"]);
            }
            None => panic!("the table has `{}`, which is no limit of the code that this test knows", cells[0]),
        }
        text.push('\n');
    }
    assert!(missing.is_empty(), "the table needs rows for {missing:?}");
    text
}

fn size(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

fn thousands(n: usize) -> String {
    format!("{},{:03}", n / 1000, n % 1000)
}

fn millions(n: usize) -> String {
    format!("{},{:03},{:03}", n / 1_000_000, n / 1000 % 1000, n % 1000)
}

fn days(duration: Duration) -> String {
    format!("{} days", duration.as_secs() / 86_400)
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}
