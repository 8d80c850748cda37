//! The nodes of a bus that several daemons share.

use serde::{Deserialize, Serialize};

use super::text_enum::text_enum;

/// The header of a response over HTTP that names the nodes which have not answered, so that the response is partial. They are
/// separated by commas.
pub const UNREACHABLE_HEADER: &str = "sse-bus-unreachable";

text_enum! {
    /// Whether a node can be reached from the node that reports it.
    #[derive(Default)]
    NodeState as "a state of a node" {
        /// It has announced itself in time, and answers.
        #[default]
        Up = "up",
        /// It has announced itself, and has not answered the last question.
        Silent = "silent",
        /// It has not announced itself for some seconds.
        Lost = "lost",
        /// A state that this version does not define.
        Other = "other",
    }
}

/// A node of a shared bus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its name, which ends the ids of its clients.
    pub name: String,
    /// It is the node that answers.
    pub own: bool,
    /// Whether it can be reached.
    pub state: NodeState,
    /// The version of the daemon.
    pub version: String,
    /// Its URL, for browsers. It may be an address that only its machine can reach.
    pub url: Option<String>,
    /// When it started, in milliseconds since 1970 (UTC), by its clock.
    pub started: u64,
    /// Connected clients.
    pub clients: u64,
    /// Connected subscribers.
    pub subscribers: u64,
    /// Events of the log that it has not applied, if known. While it does not answer, what was published meanwhile counts.
    pub lag: Option<u64>,
    /// Its last error, if there is one now.
    pub error: Option<String>,
    /// Milliseconds since it last announced itself.
    pub age_ms: u64,
}

impl NodeInfo {
    /// Returns a node with a name.
    pub fn new(name: impl Into<String>) -> NodeInfo {
        NodeInfo { name: name.into(), ..NodeInfo::default() }
    }
}
