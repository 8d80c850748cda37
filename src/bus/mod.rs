//! The core of the bus: topics, history, feeds, cursors, clients.
//!
//! [`Bus`] is a state machine: no I/O, no async, no clock. Time comes in as an argument, bytes go out through
//! [`Bus::read`], and who must be woken is told by [`Bus::finish`], to be done after the bus is unlocked. One mutex
//! around it is all the locking there is.
//!
//! What is promised: events reach each subscriber in the order of the log, each at most once; what a subscriber does
//! not get is told as a gap; no subscriber slows a publisher or another subscriber. Every bound is in
//! [`limits`](crate::limits).
//!
#![doc = include_str!("server.md")]

pub mod batch;
#[cfg(debug_assertions)]
mod check;
mod clients;
mod cold_reads;
mod connect;
mod cursor;
mod feeds;
pub mod fetch;
mod filter_index;
mod format;
mod framing;
mod heartbeats;
pub mod history;
mod ids;
mod inspect;
mod now;
mod output;
mod persist;
mod presence;
mod publish;
mod read;
mod read_shared;
mod read_steps;
mod replay;
mod request;
mod shared_cursor;
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
    ids::{ClientId, GroupId, ReaderId},
    now::Now,
    presence::CLIENTS_TOPIC,
    publish::{Admitted, LogEvent},
    read::Read,
    request::{Publication, Start, Subscription},
    state::Bus,
    stats::Stats,
    wakeups::Wakes,
};
