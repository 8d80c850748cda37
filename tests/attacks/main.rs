//! What must not hurt: attacks and accidents against the daemon as a real process, each with figures of its memory, its
//! processor time, and of what another publisher notices.
//!
//! One file for each kind. The tests measure, so they run [one at a time](measure::alone); the figures go to stderr
//! (`cargo test --test attacks -- --nocapture`). What is a latency is compared with one of the same run, or is the best of
//! a few rounds: other work on the machine must not decide.
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

use sse_bus_support::harness;
