//! The harness of the browser tests: each test has its own bus and browser, in its own folder.
//!
//! Nothing here sleeps to wait for something: [`eventually`] polls until a deadline and then reports what it saw last.
//! Processes are ended by their handles and folders removed, however a test ends.

mod browser;
mod bus;
pub mod document;
mod gateway;
mod guard_stripping_proxy;
mod inherited_sockets;
pub mod npm;
mod packages;
pub mod pip;
mod random;
mod remote;
mod site;
pub mod sse;

use std::time::{Duration, Instant};

pub use browser::{Browser, Tab};
pub use bus::{Bus, Output, Process, free_port, post};
pub use gateway::Gateway;
pub use guard_stripping_proxy::GuardStrippingProxy;
pub use random::Random;
pub use remote::{Kind, Page, Remote};
pub use serde_json::Value;
pub use site::{Response, Site};

/// Longer than any operation takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Polls until `look` returns `Ok`. Its error is what it saw instead.
///
/// # Panics
///
/// After [`DEADLINE`], with what was awaited and what was seen last.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() > end => panic!("waited {DEADLINE:?} for {what}; at the end: {seen}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
