//! What is said over the local socket: one set of types, two codecs ([`binary`] and [`json`]), and the encoding of
//! streams for browsers ([`sse`]). The types are free to grow: JSON names its fields, and the binary codec has types of its
//! own for each version.
//!
//! A connection is a sequence of [`Request`]s, each answered by one [`Reply`] in order (a publish with
//! [`Ack::None`] only if it is refused). After a [`Reply::Subscribed`], [`Reply::Event`]s stand between the answers
//! of later requests. Requests are numbered from 1 on their connection; an error names the number it answers.

pub mod binary;
mod bounded;
mod error;
pub mod json;
mod reply;
mod request;
mod setting;
pub mod sse;
mod wire;

pub(crate) use self::reply::EventBody;
#[cfg(feature = "bus")]
pub(crate) use self::reply::EventReply;
pub use self::{
    error::{ErrorCode, Refused},
    reply::{
        ClientInfo, END, EventMessage, GAP, Gap, GapReason, LimitInfo, Published, RefusedHost, RefusedOrigin, Reply,
        Status, Subscribed, TopicInfo,
    },
    request::{Ack, Payload, Publish, Request, Slow, Subscribe},
    setting::Setting,
};
