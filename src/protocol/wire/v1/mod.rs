//! Version 1. Frozen.

mod description;
mod reply;
mod request;

pub(super) use self::{
    description::{ClientInfo, TopicInfo},
    reply::{Refused, Subscribed},
    request::{Ack, Subscribe},
};
pub(crate) use self::{reply::Reply, request::Request};
