//! Shared parts of the tests of sse-bus: a parser of event streams, a model of the bus, generators, and a harness that
//! starts the daemon and its clients as processes.
//!
//! Parsers and the model are written from the standards and from the glossary, not from the code under test.

#[cfg(feature = "harness")]
pub mod harness;
pub mod matching;
#[cfg(all(feature = "harness", target_os = "linux"))]
pub mod measured;
pub mod model;
pub mod sse_parser;
#[cfg(feature = "harness")]
pub mod strategies;
