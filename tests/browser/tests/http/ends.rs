//! Clients can tell an orderly end of a stream from a crash of the daemon.

use std::fs::{self, File};

use sse_bus_browser_tests::{Bus, Process, eventually, npm::Scripts};

use crate::{prints, reader};

/// curl's exit code for an incomplete body.
const PARTIAL: i32 = 18;

/// The exit code of curl and the output of `fetch.mjs` after the daemon ends.
async fn end(how: &str) -> (Option<i32>, String) {
    let mut bus = Bus::start().await;
    let [curl_output, fetch_output] = ["curl.out", "fetch.out"].map(|name| bus.path().join(name));
    let mut curl = bus.curl("/events/t", &curl_output);
    let mut node = Scripts::installed("node", bus.path()).node("fetch.mjs");
    let mut fetch = Process::start(node.arg(format!("{}/events/t", bus.url())), &fetch_output);
    bus.subscribers(2).await;
    prints(&fetch_output, "open").await;
    bus.ctl(&["publish", "t", "the last"]).await;
    prints(&curl_output, "the last").await;
    match how {
        "stop" => assert!(bus.stop().await.success()),
        _ => bus.crash().await,
    }
    let code = curl.exited().await.code();
    assert!(fetch.exited().await.success());
    (code, prints(&fetch_output, "ed\n").await)
}

#[tokio::test]
async fn an_orderly_stop_ends_curl_and_fetch_without_an_error() {
    assert_eq!(end("stop").await, (Some(0), "open\nended\n".into()));
}

#[tokio::test]
async fn after_a_crash_curl_exits_with_18_and_fetch_rejects() {
    assert_eq!(end("crash").await, (Some(PARTIAL), "open\nrejected\n".into()));
}

#[tokio::test]
async fn an_event_that_a_crash_cuts_off_is_not_delivered() {
    let mut bus = Bus::start().await;
    let (mut behind, output) = reader(&bus, "sseclient-py behind", "/events/t");
    bus.subscribers(1).await;
    bus.ctl(&["publish", "t", "complete"]).await;
    // More than the buffers of a connection hold, so that it breaks inside an event.
    let file = bus.path().join("lines");
    fs::write(&file, ("long, ".repeat(40_000) + "end\n").repeat(20)).unwrap();
    bus.ctl_reading(&["publish", "t", "--lines"], File::open(&file).unwrap()).await;
    eventually("the connection to be full", async || {
        let client = bus.json(&["clients"]).await.remove(0);
        if client["lag"].as_u64() > Some(0) { Ok(()) } else { Err(client.to_string()) }
    })
    .await;
    bus.crash().await;
    behind.tell("read now");

    assert!(behind.exited().await.success());
    let printed = fs::read_to_string(output).unwrap();
    let ends: Vec<&str> = printed.lines().collect();
    assert_eq!((ends.first(), ends.last()), (Some(&"\"ete\""), Some(&"\"broken\"")), "{ends:?}");
    assert!(ends[1..ends.len() - 1].iter().all(|&end| end == "\"end\""), "an event was cut off: {ends:?}");
}
