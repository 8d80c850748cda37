//! The HTTP around a stream: how it ends, how readers of lines decode it, and that proxies do not hold events back.

mod defaults;
mod ends;
mod proxies;
mod reading;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use sse_bus_browser_tests::{Bus, Process, eventually, pip};

/// The time without a byte after which httpx, and by default sockets of Node, give up.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Starts one of the readers of `read.py`. Returns the file with its output, too.
fn reader(bus: &Bus, how: &str, target: &str) -> (Process, PathBuf) {
    let (ours, packages) = pip::installed("python");
    let mut python = Command::new("python3");
    python.arg(ours.join("read.py")).args([how, &(bus.url() + target)]);
    python.env("PYTHONPATH", packages).env("NO_PROXY", "127.0.0.1").stdin(Stdio::piped());
    let output = bus.path().join("reader.out");
    (Process::start(&mut python, &output), output)
}

/// Waits until a program has printed a text. Returns its whole output so far.
async fn prints(output: &Path, what: &str) -> String {
    eventually(&format!("{what:?} in the output"), async || {
        let printed = String::from_utf8_lossy(&fs::read(output).unwrap()).into_owned();
        if printed.contains(what) { Ok(printed) } else { Err(printed) }
    })
    .await
}
