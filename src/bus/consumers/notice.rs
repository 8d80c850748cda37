//! An announcement about a consumer.

use serde::Serialize;

/// An announcement.
#[derive(Debug, Serialize)]
pub(super) struct Notice {
    /// The type of the event: `created`, `deleted`, `paused`, `resumed`, `seek`, `dead`, `missed`, `inactive`, `active`.
    #[serde(skip)]
    pub(super) what: &'static str,
    pub(super) consumer: String,
    /// The sequence number of the event that it is about.
    #[serde(skip)]
    pub(super) seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) worker: Option<String>,
}

impl Notice {
    pub(super) fn new(what: &'static str, consumer: &str) -> Notice {
        let consumer = consumer.to_owned();
        Notice { what, consumer, seq: None, id: None, reason: None, attempts: None, worker: None }
    }
}
