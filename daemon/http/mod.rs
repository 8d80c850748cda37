//! HTTP: the same routes on TCP and on the local socket.
//!
//! A TCP connection speaks HTTP/1.1 or [HTTP/2](http2), by its first bytes; with a certificate both, over TLS. Every request
//! passes the [guards] before any handler sees it. A connection has [`FIRST_BYTE`](sse_bus::limits::FIRST_BYTE) to show what
//! it speaks and to send the head of a request. A peer that does not take a response is cut by the
//! [connection](crate::connection), over HTTP/2 by the stream.

mod accept;
mod admin;
mod batch;
mod client_module;
mod consumer_query;
mod consumers;
mod cors;
mod dashboard;
mod dead_letters;
mod deliveries;
mod error;
mod events;
mod guards;
mod hijack;
mod http1;
mod http2;
#[cfg(feature = "tls")]
mod https;
mod json_line;
mod next;
mod page_check;
mod pages;
mod parameters;
mod query;
mod request_body;
mod requests;
mod routes;
mod schedules;
mod service;
mod settle;
mod source;
mod stream_body;
mod tickets;
mod waiting_body;

pub(crate) use self::{accept::accept, http1::serve, service::Http, source::RequestSource};
