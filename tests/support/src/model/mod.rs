//! A naive model of the bus: what every subscriber must see, whatever is published, evicted, read, left and resumed.
//!
//! [`World`](world::World) performs each operation on the bus and on the model, and compares what subscribers read.

pub mod log;
pub mod ops;
pub mod subscriber;
pub mod wire;
pub mod world;
