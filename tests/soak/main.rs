//! A daemon under a mixed load with churn, for a given time: every subscriber's events are checked against the
//! published ones, and the daemon's memory and descriptors must stay constant. `tests/soak/run` runs it.
//!
//! `load` publishes on both sockets in three ways, also in bursts; `readers` are subscribers on every transport:
//! steady, reconnecting, slow, stalled and kicked; other connections come and go, send unicast events and retain
//! values. History and buffers are small, so that evictions and gaps are frequent, and memory reaches its height soon.

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
