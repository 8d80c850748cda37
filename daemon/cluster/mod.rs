//! The other nodes of a bus that several daemons share: who is there, and what they do for each other.
//!
//! The log is not part of this: events, history and their order come from the stream. Here are the things that are live only:
//! clients, unicast, presence, requests and replies, and the numbers of subscribers. Nodes exchange [messages](message) over
//! [core NATS](link).
//!
//! - A node announces itself every [`NODE_ANNOUNCE`](sse_bus::limits::NODE_ANNOUNCE), and is lost after
//!   [`NODE_LOST`](sse_bus::limits::NODE_LOST) without an announcement.
//! - A question goes to all nodes, or to the one that an id names. The nodes that have not answered within
//!   [`NODE_WAIT`](sse_bus::limits::NODE_WAIT) are named in the answer, and the next questions do not wait for them.
//! - A message that is older than [`NODE_MESSAGE_AGE`](sse_bus::limits::NODE_MESSAGE_AGE), since it waited in a connection, has no
//!   effect: its sender has reported that the node did not answer.
//! - The node that sends a question has authorized its caller. A node trusts the others: they have credentials for the servers.
//!   What they send is nevertheless parsed and bounded like the input of a client.

#![cfg_attr(not(feature = "nats"), allow(dead_code, reason = "without NATS there are no other nodes"))]

mod arrived;
mod asks;
mod clients;
mod counts;
#[cfg(feature = "nats")]
mod deliveries;
mod gather;
mod join;
mod link;
mod message;
mod nodes;
mod partial;
mod presence;
mod requests;
mod run;
mod serve;
mod state;
mod subscribers;
mod unicasts;

#[cfg(feature = "nats")]
pub(crate) use self::{
    link::{Link, NotSent},
    state::{Health, Own},
};
pub(crate) use self::{partial::Partial, requests::SharedRequest, state::Cluster};
