//! The protocol of the local socket: one set of types with two codecs ([`binary`] and [`json`]), and the encoding of
//! event streams ([`sse`]). The types can gain fields: JSON names its fields, and the binary codec has separate types
//! for each version.
//!
//! A client sends [`Request`]s, and the daemon answers each with one [`Reply`], in order. A publish with [`Ack::None`]
//! is answered only if it is refused. After a [`Reply::Subscribed`] or a [`Reply::Consuming`], [`Reply::Event`]s may come between
//! the replies to later requests. Requests are numbered from 1 per connection; an error contains the number of its request.

pub mod binary;
mod bounded;
mod consumer;
mod error;
mod exchange;
mod info;
pub mod json;
mod node;
mod payload;
mod reply;
mod request;
mod schedule;
mod setting;
pub mod sse;
mod text_enum;
mod wire;

#[cfg(feature = "bus")]
pub(crate) use self::reply::{EventBody, EventReply};
pub use self::{
    consumer::{
        Consume, ConsumerAction, ConsumerConfig, ConsumerInfo, Consuming, DeadLetter, DeadSelection, Delivery, OnFull,
    },
    error::{ErrorCode, Refused},
    exchange::{ReplyMessage, ReplyTo, RequestMessage, Respond, Responding},
    info::{
        ClientInfo, ClientRole, HistoryKind, KeptOut, LimitInfo, LogInfo, RefusedHost, RefusedOrigin, Status,
        TopicInfo, Transport,
    },
    node::{NodeInfo, NodeState, UNREACHABLE_HEADER},
    payload::Payload,
    reply::{END, EventMessage, Published, Reply, Subscribed},
    request::{Ack, InvalidSlow, Publish, Request, Slow, Subscribe},
    schedule::{NotAPublisherId, PublisherId, ScheduleInfo, Scheduled, Sequence},
    setting::Setting,
};
pub use crate::gap::{GAP, Gap, GapReason};
