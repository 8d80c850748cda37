//! The daemon and its clients as real processes, and what a failing test prints of them.
//!
//! Each [`Daemon`] has a folder, a socket and a port of its own, so tests run at the same time. It is killed when it is
//! dropped. Nothing sleeps to let something happen: [`until`] looks for a condition, and every read has a deadline.

#[cfg(unix)]
mod daemon;
#[cfg(unix)]
mod frames;
#[cfg(unix)]
mod haproxy;
#[cfg(unix)]
pub mod http;
#[cfg(unix)]
mod http2;
#[cfg(unix)]
mod lines;
#[cfg(unix)]
mod link;
#[cfg(unix)]
pub mod nats;
#[cfg(unix)]
mod ports;
mod process;
#[cfg(unix)]
mod sandbox;
#[cfg(unix)]
mod service;
#[cfg(unix)]
mod subscribers;
#[cfg(unix)]
mod tokens;
#[cfg(windows)]
mod windows;

use std::{
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

pub use self::process::{Process, Run};
#[cfg(windows)]
pub use self::windows::{Daemon, Pipe, Sandbox};
#[cfg(unix)]
pub use self::{
    daemon::Daemon,
    frames::Frames,
    haproxy::HaProxy,
    http::{EventStream, Response, Sse, exchange},
    http2::Http2,
    lines::Lines,
    link::Link,
    ports::stable_port,
    process::{after, wrap},
    sandbox::Sandbox,
    service::Service,
    subscribers::{Subscriber, Subscribers},
    tokens::{Tokens, bearer, token},
};

/// The timeout of every wait, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The path of a program of the package, which Cargo sets when it runs integration tests and benchmarks.
pub(crate) fn program(name: &str) -> String {
    std::env::var(format!("CARGO_BIN_EXE_{name}")).expect("Cargo runs the test")
}

/// Polls until a condition holds, and returns its value.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out after {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The text with every byte percent-encoded.
pub fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = write!(encoded, "%{byte:02X}");
        encoded
    })
}

/// Runs a future of the library's client.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("the client answers in time") })
}
