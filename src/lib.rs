//! A local event bus: processes publish over a Unix domain socket or a Windows named pipe, browsers, curl and scripts
//! subscribe over Server-Sent Events.
//!
//! ```text
//! publisher ──▶ local socket ──▶ Bus::publish ──▶ history
//!                                        └──▶ feeds ──▶ cursors ──▶ fan-out ──▶ subscribers
//! ```
//!
//! One ordered log; every subscriber is a cursor on it. Replay after a reconnect, falling behind and history are then
//! the same thing: a cursor that reads from further back. What history no longer has is told in the stream as a gap.
//!
//! - [`topic`], [`event`], [`headers`], [`limits`]: the words of the bus, each legal by construction.
//! - [`protocol`]: what is said over the local socket, and the encoding of streams.
//! - [`endpoint`]: where the local socket is; [`socket_owner`]: the process that holds a socket.
//! - [`private_fs`]: whether other users may write somewhere; [`shell`]: quoting for suggested commands.
//! - `client` (feature `client`): publish, subscribe and administer from Rust.
//! - `tokens` (feature `tokens`): who may who is not of the daemon's own user.
//! - `bus` (feature `bus`): the core, synchronous, without I/O and without a clock.

#[cfg(feature = "bus")]
pub mod bus;
#[cfg(feature = "client")]
pub mod client;
pub mod endpoint;
pub mod event;
pub mod headers;
pub mod limits;
pub mod private_fs;
pub mod protocol;
pub mod shell;
pub mod socket_owner;
#[cfg(feature = "tokens")]
pub mod tokens;
pub mod topic;

#[cfg(feature = "client")]
pub use client::Client;
pub use endpoint::Endpoint;
pub use event::{Epoch, Event, EventId, EventType};
pub use headers::Headers;
pub use topic::{Filter, FilterSet, Topic};

/// The Rust examples of the README, compiled with the documentation tests.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
