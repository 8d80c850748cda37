//! Hostile load: attacks and exhausted resources against the daemon as a real process, each with figures of its memory,
//! its processor time, and of the latency of another publisher.
//!
//! One file for each kind. The tests measure, so they run [one at a time](measure::alone); the figures go to stderr
//! (`cargo test --test attacks -- --nocapture`). A latency is compared with one of the same run, or is the best of a
//! few rounds, so that other work on the machine does not decide.
#![cfg(target_os = "linux")]

mod attack;
mod descriptors;
mod distinct;
mod flood;
mod http2;
mod malformed;
mod measure;
mod slow;
mod snapshots;
mod stalled_subscribers;
mod unfinished_heads;

use sse_bus_support::harness;
