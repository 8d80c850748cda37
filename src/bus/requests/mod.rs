//! Requests: events that expect a reply, and responders, the clients that reply. Requests are live only.
//!
//! A responder is a subscriber whose subscription has [`Responder`] settings in place of the filters of events: it receives
//! requests as live-only events with an address for the reply. A request goes to the free responder that has not received one
//! for the longest time, among those whose filters match. A responder is free while it has fewer unanswered requests than
//! `max_in_flight`. If none is free, the request waits: each responder that becomes free takes the oldest waiting request that
//! it matches. A request that wants several replies goes to each responder at most once.
//!
//! | end of a request | when | result |
//! |---|---|---|
//! | answered | it has all replies that it wants, or those of all matching responders | the replies |
//! | `no_responder` | no responder matches: at once, or when the last one that it waits for has disconnected | refused |
//! | `responder_gone`, `responder_failed` | its responders have disconnected or reported a failure, and none has replied | refused |
//! | `timed_out` | its time has passed | the replies so far; refused if there are none |
//!
//! A request that has ended frees its responders, and later replies to it are refused with `stale_request`. Its result waits
//! until its client [polls](super::Bus::poll_request) it.
//!
//! Bounds: [`REQUESTS_MAX`](crate::limits::REQUESTS_MAX) requests, [`REQUESTS_BYTES`](crate::limits::REQUESTS_BYTES) bytes of
//! them and of their replies, [`RESPONDERS_MAX`](crate::limits::RESPONDERS_MAX) responders. Above a limit, requests, replies
//! and responders are refused. Each responder compares its filters with each waiting request at most once, and one call makes
//! at most [`REQUESTS_AT_ONCE`](crate::limits::REQUESTS_AT_ONCE) comparisons; the next tick continues.

mod answer;
mod ask;
#[cfg(debug_assertions)]
mod check;
mod finish;
mod ids;
mod parse;
mod pending;
mod respond;
mod responder;
mod settings;
mod table;
mod timers;

pub(super) use self::table::Requests;
pub use self::{
    ids::RequestId,
    parse::{Answer, RequestTerms},
    settings::{AvailableResponders, Responder},
};
