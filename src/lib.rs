//! A local event bus: processes publish over a Unix domain socket or a Windows named pipe; browsers, curl and scripts
//! subscribe over Server-Sent Events.
//!
//! ```text
//! publisher ──▶ local socket ──▶ Bus::publish ──▶ history
//!                                        └──▶ feeds ──▶ cursors ──▶ fan-out ──▶ subscribers
//! ```
//!
//! There is one ordered log, and every subscriber is a cursor on it. Resuming after a reconnect, falling behind and
//! reading history are therefore the same operation: the cursor reads from an earlier position. Events that history no
//! longer has are reported in the stream as a gap.
//!
//! - [`topic`], [`event`], [`headers`], [`gap`]: the basic types, valid by construction.
//! - [`limits`]: all limits of the bus; [`retention`]: the bounds of history; [`time`]: milliseconds.
//! - [`protocol`]: requests and replies on the local socket, and the encoding of event streams.
//! - [`endpoint`]: the path of the local socket; [`socket_owner`]: the process that listens on a socket.
//! - [`listen`]: the TCP addresses of the daemon; `flags` (feature `daemon`): its command line; `values`: the values of
//!   options.
//! - [`private_fs`]: files that other users cannot access; [`user_namespace`]: the users that have an ID; [`shell`]: quoting
//!   for suggested commands.
//! - `client` (feature `client`): an async client, to publish, subscribe and administer.
//! - `tokens` (feature `tokens`): tokens that authorize other users and other machines.
//! - `bus` (feature `bus`): the core, synchronous, without I/O and without a clock.

#[cfg(feature = "bus")]
pub mod bus;
#[cfg(feature = "client")]
pub mod client;
pub mod endpoint;
pub mod event;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod flags;
pub mod gap;
pub mod headers;
pub mod limits;
pub mod listen;
pub mod private_fs;
pub mod protocol;
pub mod retention;
pub mod shell;
pub mod socket_owner;
pub mod time;
#[cfg(feature = "tokens")]
pub mod tokens;
pub mod topic;
pub mod user_namespace;
#[cfg(any(feature = "daemon", feature = "ctl"))]
#[doc(hidden)]
pub mod values;

#[cfg(feature = "client")]
pub use client::Client;
pub use endpoint::Endpoint;
pub use event::{Check, Epoch, Event, EventId, EventType};
pub use headers::Headers;
pub use topic::{Filter, FilterSet, Topic};

/// The Rust examples of the documents, compiled as documentation tests.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../docs/how-to/rust.md")]
struct Documents;
