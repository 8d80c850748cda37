//! The core of the bus: topics, history, feeds, cursors, clients.
//!
//! [`Bus`] is a state machine without I/O, async code or a clock. The caller passes the time as an argument, and reads
//! bytes with [`Bus::read`]. [`Bus::finish`] returns the wakers of the tasks that have something to read; the caller wakes
//! them after it has unlocked the bus. One mutex around the bus is the only lock.
//!
//! Guarantees: events reach each subscriber in the order of the log, each at most once; events that a subscriber does not
//! receive are reported to it as a gap; no subscriber slows a publisher or another subscriber. Every bound is in
//! [`limits`](crate::limits).
//!
//! `state.rs` has the struct; each of the other files adds its methods, or is a type that the struct is made of. Types do
//! not import the bus.
//!
#![doc = include_str!("server.md")]

pub mod batch;
mod broadcasts;
#[cfg(debug_assertions)]
mod check;
mod clients;
mod cold_reads;
mod connect;
pub mod consumers;
mod cursor;
pub mod dedup;
mod feed;
mod feed_set;
mod feeds;
pub mod fetch;
mod filter_index;
mod format;
mod framing;
mod heartbeats;
pub mod history;
mod ids;
mod inspect;
mod log_event;
mod node;
mod now;
mod output;
mod persist;
mod presence;
mod presence_watch;
mod publish;
mod read;
mod read_log;
mod read_shared;
mod read_steps;
mod recent_topics;
mod replay;
mod request;
pub mod requests;
mod rewrite;
pub mod schedules;
mod serve;
mod shared_cursor;
mod split_map;
mod state;
mod stats;
mod subscribe;
mod tick;
mod topics;
mod unicast;
mod unicast_queue;
mod wakeups;

pub use self::{
    clients::{ClientName, Description},
    format::Format,
    framing::Framing,
    ids::{ClientId, ReaderId, SharedCursorId},
    log_event::{Admitted, LogEvent},
    node::NODES_TOPIC,
    now::Now,
    presence::CLIENTS_TOPIC,
    presence_watch::PresenceEvent,
    read::Read,
    request::{Publication, Start, Subscription},
    state::Bus,
    stats::Stats,
    unicast::Unicast,
    wakeups::Wakes,
};
