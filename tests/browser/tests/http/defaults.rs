//! Surprising defaults of clients. docs/how-to/choose-a-client.md lists workarounds.

use std::{fs, path::PathBuf, time::Instant};

use sse_bus_browser_tests::{Bus, Process, npm::Scripts};

use crate::{TIMEOUT, prints, reader};

/// Starts a client of Node. Returns the file with its output, too.
fn start(bus: &Bus, scripts: &Scripts, client: &str, target: &str) -> (Process, PathBuf) {
    let output = bus.path().join(format!("{client}{}.out", target.len()));
    let mut node = scripts.node("defaults.mjs");
    (Process::start(node.args([client, &(bus.url() + target)]), &output), output)
}

#[tokio::test]
async fn node_exits_while_an_event_source_waits_to_reconnect() {
    let bus = Bus::start().await;
    let scripts = Scripts::installed("node", bus.path());
    for client in ["node", "eventsource"] {
        let (mut process, output) = start(&bus, &scripts, client, "/events/t?client=alone");
        prints(&output, "open").await;
        bus.ctl(&["kick", "alone"]).await;
        assert_eq!(process.exited().await.code(), Some(0), "{client}");
        assert_eq!(fs::read_to_string(&output).unwrap(), "open\n", "{client}");
    }
}

#[tokio::test]
async fn httpx_and_launchdarkly_end_a_quiet_stream_unless_it_has_frequent_heartbeats() {
    let bus = Bus::start().await;
    let scripts = Scripts::installed("node", bus.path());
    let began = Instant::now();
    let (mut httpx, _) = reader(&bus, "httpx", "/events/t");
    let (_quiet, quiet_output) = start(&bus, &scripts, "launchdarkly-eventsource", "/events/t");
    let (_alive, alive_output) = start(&bus, &scripts, "launchdarkly-eventsource", "/events/t?heartbeat=4s");
    assert!(!httpx.exited().await.success());
    prints(&quiet_output, "open\nopen\n").await;
    assert!(began.elapsed() > TIMEOUT, "{:?}", began.elapsed());
    assert_eq!(fs::read_to_string(&alive_output).unwrap(), "open\n");
}
