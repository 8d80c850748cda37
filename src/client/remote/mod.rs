//! The client of a daemon elsewhere, over HTTP or HTTPS.
//!
//! Requests use one connection with HTTP/1.1, which is replaced when the other end has closed it; a subscription has a
//! connection of its own. A request is sent again only if no byte of it has been written. Redirects are not followed, so
//! that a token reaches only the host that the caller named. An answer is bounded by [`ANSWER_MAX`], and an event of a
//! stream by [`LINE_MAX`](crate::limits::LINE_MAX).

mod connection;
mod decoder;
mod pipeline;
mod session;
mod stream;
mod tls;
mod url;

pub use self::url::{Remote, RemoteError};
pub(super) use self::{
    pipeline::{Publisher, Replies, publish_many, split},
    session::Session,
    stream::EventStream,
};

/// Maximum bytes of an answer. A longer one is an error.
const ANSWER_MAX: usize = 64 << 20;
