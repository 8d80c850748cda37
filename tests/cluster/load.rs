//! Publishers that know what became of each of their events.

use std::{
    io::ErrorKind,
    ops::RangeInclusive,
    os::unix::net::UnixStream,
    path::PathBuf,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{Daemon, Lines};

/// The time that a publisher has for one event, repeats included.
const PATIENCE: Duration = Duration::from_mins(1);

/// What became of an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It is in the log, with this id.
    Published(String),
    /// It is not in the log.
    Refused,
    /// It may be in the log.
    Unknown,
}

/// What to publish.
#[derive(Clone)]
pub(crate) struct Load {
    /// The socket of the node.
    pub socket: PathBuf,
    pub topic: &'static str,
    /// The beginning of all data, which no other publisher has.
    pub name: &'static str,
    pub events: usize,
    /// The time between the starts of two publishes.
    pub pace: Duration,
}

/// The data and the outcome of each event, in order.
pub(crate) type Outcomes = Vec<(String, Outcome)>;

/// Publishes each event until it is in the log, with an id for repeats.
pub(crate) fn repeated(load: Load) -> JoinHandle<Outcomes> {
    thread::spawn(move || {
        publish_all(load, |connection, topic, data| {
            let deadline = Instant::now() + PATIENCE;
            loop {
                if let outcome @ Outcome::Published(_) = connection.publish(topic, data, Some(data)) {
                    return outcome;
                }
                assert!(Instant::now() < deadline, "{data} is not published after {PATIENCE:?}");
                thread::sleep(Duration::from_millis(50));
            }
        })
    })
}

/// Publishes each event once, without an id for repeats.
pub(crate) fn once(load: Load) -> JoinHandle<Outcomes> {
    thread::spawn(move || publish_all(load, |connection, topic, data| connection.publish(topic, data, None)))
}

fn publish_all(load: Load, publish: impl Fn(&mut Connection, &str, &str) -> Outcome) -> Outcomes {
    let mut connection = Connection { socket: load.socket, lines: None };
    let start = Instant::now();
    let mut outcomes = Vec::new();
    for number in 0..load.events {
        let due = start + load.pace * number as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let data = format!("{}-{number}", load.name);
        let outcome = publish(&mut connection, load.topic, &data);
        outcomes.push((data, outcome));
    }
    outcomes
}

/// A connection to a node, opened again when it has ended.
struct Connection {
    socket: PathBuf,
    lines: Option<Lines>,
}

impl Connection {
    fn publish(&mut self, topic: &str, data: &str, dedup_id: Option<&str>) -> Outcome {
        if self.lines.is_none() {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => self.lines = Some(Lines::new(stream)),
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound), "{error}");
                    return Outcome::Refused;
                }
            }
        }
        let mut publish = json!({"topic": topic, "data": data});
        if let Some(id) = dedup_id {
            publish["dedup_id"] = id.into();
        }
        let reply = self.lines.as_mut().and_then(|lines| lines.try_ask(&json!({ "publish": publish }).to_string()));
        let Some(reply) = reply else {
            self.lines = None;
            return Outcome::Unknown;
        };
        outcome(&reply)
    }
}

/// The outcome in a reply to a publish.
pub(crate) fn outcome(reply: &Value) -> Outcome {
    if let Some(id) = reply["published"]["id"].as_str() {
        return Outcome::Published(id.to_owned());
    }
    match reply["error"]["code"].as_str() {
        Some("unavailable" | "stopping") => Outcome::Refused,
        Some("unknown_outcome") => Outcome::Unknown,
        _ => panic!("an unexpected reply: {reply}"),
    }
}

/// Publishes until the event is in the log, and returns its id. Panics if that takes longer than the given time.
pub(crate) fn publish_within(time: Duration, node: &Daemon, topic: &'static str, data: &str) -> String {
    let mut connection = Connection { socket: node.sandbox.socket(), lines: None };
    let deadline = Instant::now() + time;
    loop {
        let outcome = connection.publish(topic, data, Some(data));
        if let Outcome::Published(id) = outcome {
            return id;
        }
        assert!(Instant::now() < deadline, "{data} is not published after {time:?}: {outcome:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Publishes several events, each until it is in the log, and returns their ids.
pub(crate) fn publish_all_of(node: &Daemon, topic: &'static str, data: &[String]) -> Vec<String> {
    data.iter().map(|data| publish_within(PATIENCE, node, topic, data)).collect()
}

/// The data of events: a name and a number.
pub(crate) fn numbered(name: &str, numbers: RangeInclusive<usize>) -> Vec<String> {
    numbers.map(|number| format!("{name}-{number}")).collect()
}
