//! A naive model of the bus: what every subscriber must receive for any sequence of operations.
//!
//! [`World`](world::World) performs each operation on the bus and on the model, and compares what subscribers read.

pub mod live;
pub mod log;
pub mod ops;
pub mod stored_history;
pub mod subscriber;
pub mod subscription;
pub mod wire;
pub mod world;
