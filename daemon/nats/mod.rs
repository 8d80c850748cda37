//! NATS: the connection, and the names that the nodes of a bus use there.
//!
//! The [log](crate::log) and the [cluster](crate::cluster) share one connection. It connects again by itself, for ever.

mod connect;
mod connection;
mod names;

pub(crate) use self::{
    connect::ConnectError,
    connection::Nats,
    names::{Names, level},
};
