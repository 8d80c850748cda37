//! Version 2. Frozen. Events have headers; the status and the configuration are JSON text, so that they can gain
//! fields. Types that are the same as in version 1 are used from there.

mod reply;
mod request;

#[cfg(feature = "bus")]
pub(crate) use self::reply::Event;
pub(crate) use self::{reply::Reply, request::Request};
