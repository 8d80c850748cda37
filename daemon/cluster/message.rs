//! The messages between nodes: JSON, so that later versions can add fields and kinds.
//!
//! Other nodes hold credentials for the NATS servers, but what arrives is parsed like the input of a client: a message that
//! cannot be read is counted and skipped.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sse_bus::{
    EventId,
    bus::{PresenceEvent, consumers::Settlement},
    protocol::{ClientInfo, NodeInfo, Publish, Refused, ReplyMessage, ReplyTo, RequestMessage},
};

/// A message of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Message {
    /// The name of the node.
    pub(super) from: String,
    /// A number that the node drew when it started.
    pub(super) instance: u64,
    /// When it was sent, in milliseconds of the monotonic clock of the node.
    pub(super) sent: u64,
    pub(super) body: Body,
}

/// The content of a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Body {
    /// The node is there. Sent every few seconds.
    Announce(Box<Announcement>),
    /// The node stops.
    Leave {},
    /// Clients of the node have connected or disconnected.
    Presence(Vec<PresenceEvent>),
    /// A question, which the receiver answers to the node.
    Ask {
        /// The number of the question, unique for the node.
        ask: u64,
        question: Question,
    },
    /// An answer to a question of the receiver. It may have several parts.
    Answer { ask: u64, is_last: bool, answer: Answer },
    /// The deliveries of a consumer are no longer current: it was moved or deleted.
    Forget { consumer: String },
    /// The node does not wait for the answer any more.
    Cancel { ask: u64 },
}

/// An announcement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Announcement {
    pub(super) info: NodeInfo,
    /// The node has just connected, and does not know the others.
    pub(super) is_new: bool,
    /// The node has subscribers of presence events.
    pub(super) watches_presence: bool,
}

/// A question to a node. What a client may ask was authorized by the node that sends it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Question {
    Clients {},
    Kick {
        client: String,
    },
    KickFor {
        client: String,
        ms: u64,
    },
    /// Keep clients with a name out, also if none is connected.
    KeepOut {
        name: String,
        ms: u64,
    },
    /// Deliver a unicast, after the event at the position of the node that sends it.
    Send {
        event: Box<Publish>,
        after: EventId,
    },
    /// Count the subscribers of topics.
    Subscribers {
        topics: Vec<String>,
    },
    /// Count the responders of a topic.
    Responders {
        topic: String,
    },
    Request(Box<RequestMessage>),
    Reply(Box<ReplyTo>),
    /// Settle deliveries of the node.
    Settle {
        tokens: Vec<String>,
        settlement: Settlement,
    },
    /// Count the workers of each consumer.
    Workers {},
}

/// An answer, or a part of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Clients(Vec<ClientInfo>),
    Kicked {
        connections: u64,
        /// The names of the clients, by which they are kept out.
        names: Vec<String>,
    },
    Sent {
        connections: u64,
    },
    /// One number for each topic.
    Subscribers(Vec<u64>),
    Responders {
        free: u64,
        matching: u64,
    },
    Replies(Vec<ReplyMessage>),
    Replied {},
    /// One result for each delivery.
    Settled(Vec<Option<Refused>>),
    Workers(BTreeMap<String, u64>),
    Refused(Refused),
}

impl Message {
    /// Returns the message in a payload, unless it is none.
    pub(super) fn decode(payload: &[u8]) -> Option<Message> {
        serde_json::from_slice(payload).ok().filter(|message: &Message| is_node_name(&message.from))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Returns true if a text can be the name of a node.
fn is_node_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_payloads_are_no_messages() {
        let valid = br#"{"from":"a-1","instance":1,"sent":2,"body":{"leave":{}}}"#;
        assert!(Message::decode(valid).is_some());
        let foreign: [&[u8]; 8] = [
            b"",
            b"\xff\xfe",
            b"null",
            b"[]",
            br#"{"from":"a.b","instance":1,"sent":2,"body":{"leave":{}}}"#,
            br#"{"from":"","instance":1,"sent":2,"body":{"leave":{}}}"#,
            br#"{"from":"a","instance":-1,"sent":2,"body":{"leave":{}}}"#,
            br#"{"from":"a","instance":1,"sent":2,"body":{"format_disk":{}}}"#,
        ];
        for payload in foreign {
            assert!(Message::decode(payload).is_none(), "{}", String::from_utf8_lossy(payload));
        }
        let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
        assert!(Message::decode(&deep).is_none());
    }

    #[test]
    fn fields_of_later_versions_are_ignored() {
        let later = br#"{"from":"a","instance":1,"sent":2,"room":3,"body":{"announce":{"info":{"name":"a","beds":4},
            "is_new":true,"watches_presence":false,"mood":"good"}}}"#;
        let Some(Message { body: Body::Announce(announcement), .. }) = Message::decode(later) else { panic!() };
        assert!(announcement.is_new && announcement.info.name == "a");
    }
}
