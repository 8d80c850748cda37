//! The local socket: accepts connections, and serves each in the language of its first byte: binary, JSON lines or HTTP.
//!
//! A process that may not use the socket gets a refusal in its own language, and nothing else.

mod accept;
mod codec;
mod error;
#[cfg(unix)]
mod hangup;
mod language;
mod listener;
#[cfg(windows)]
mod pipe_lock;
mod rebind;
mod running_daemon;
mod session;
#[cfg(unix)]
mod socket_lock;

pub(crate) use self::{
    accept::accept,
    error::{Running, SocketError},
    listener::Listener,
    running_daemon::on_port as running_on_port,
};
