//! The client of a daemon elsewhere, over HTTP or HTTPS.
//!
//! Requests use one connection with HTTP/1.1, which is replaced when the other end has closed it; a subscription has a
//! connection of its own. A request is sent again only if no byte of it has been written. Redirects are not followed, so
//! that a token reaches only the host that the caller named. Responses and the events of a
//! stream have maximum sizes.

mod connection;
mod consumers;
mod decoder;
mod error;
mod pipeline;
mod refusal;
mod requests;
mod session;
mod stream;
mod tls;
mod url;
mod worker;

pub use self::{error::RemoteError, url::Remote};
pub(super) use self::{
    pipeline::{Publisher, Replies, publish_many, split},
    session::Session,
    stream::EventStream,
    worker::RemoteWorker,
};
