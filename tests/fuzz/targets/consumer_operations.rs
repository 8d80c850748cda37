//! Sequences of operations on consumers against the naive queue of `tests/model/consumers`, with restarts from a disk: every job
//! is done or dead, and the self-check passes after each step.
//!
//! The first bytes bound the bus, and each of the others chooses something; bytes that are missing are 0.
#![no_main]

mod consumers;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| consumers::run(bytes));
