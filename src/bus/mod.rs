//! The core of the bus.
