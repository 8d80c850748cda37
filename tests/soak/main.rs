//! A daemon under a mixed load with churn, for as long as it is told: what every subscriber gets is checked against what
//! was published, and the daemon's memory and descriptors must stay what they are. `tests/soak/run` runs it.
//!
//! `publish` on both sockets in three ways, bursts among it; `readers` in each way in, steady, coming back, slow, stalled
//! and kicked; connections that come and go, events to one client, retained values. History and buffers are small, so
//! that what is let go and told as a gap is tried all the time, and memory is at its height soon.

#[cfg(target_os = "linux")]
mod delivery_check;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod readers;
#[cfg(target_os = "linux")]
mod run;

#[cfg(target_os = "linux")]
use sse_bus_support::harness;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the soak reads /proc, which only Linux has");
}
