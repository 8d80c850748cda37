//! The dashboard at `/`, in Chromium: its content, its commands, its behaviour under load, and its accessibility.

mod access;
mod actions;
mod away;
mod hostile;
mod load;
mod login;
mod map;
mod panels;
mod pictures;
mod selection;
mod work;

use std::{fmt::Debug, fs::File};

use sse_bus_browser_tests::{Bus, Tab, Value, eventually};

use self::access::check;

/// Waits until an expression of the page has a value.
async fn becomes(page: &Tab, expression: &str, wanted: impl Into<Value> + Debug) {
    let wanted = wanted.into();
    eventually(&format!("{expression} to be {wanted}"), async || {
        let value = page.eval(&format!("return {expression}")).await;
        if value == wanted { Ok(()) } else { Err(value.to_string()) }
    })
    .await;
}

/// Waits until an element of the page contains a text.
async fn says(page: &Tab, selector: &str, text: &str) {
    eventually(&format!("{selector} to say {text:?}"), async || {
        let said = page.texts(selector).await;
        if said.iter().any(|said| said.contains(text)) { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
}

/// Publishes events, each with a topic, a type and data, in this order.
async fn publish_all(bus: &Bus, events: impl IntoIterator<Item = [String; 3]>) {
    let lines = events.into_iter().map(|[topic, kind, data]| {
        let kind = Some(kind).filter(|kind| !kind.is_empty());
        serde_json::json!({ "topic": topic, "type": kind, "data": data }).to_string() + "\n"
    });
    let file = bus.path().join("events.jsonl");
    std::fs::write(&file, lines.collect::<String>()).expect("the test's folder can be written to");
    bus.ctl_reading(&["publish", "--jsonl"], File::open(&file).expect("just written")).await;
}

/// Publishes numbers as words of which none is part of another.
async fn count(bus: &Bus, topic: &str, numbers: std::ops::Range<usize>) {
    publish_all(bus, numbers.map(|n| [topic.to_owned(), String::new(), format!("number {n}.")])).await;
}

/// Sends a request of another origin, which the daemon refuses.
async fn refuse(bus: &Bus) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let own = bus.address();
    for (host, origin, status) in [(&*own, "origin: http://other.example\r\n", 403), ("bus.example", "", 421)] {
        let mut daemon = tokio::net::TcpStream::connect(&own).await.expect("the daemon listens");
        let head = format!("GET /events HTTP/1.1\r\nhost: {host}\r\n{origin}connection: close\r\n\r\n");
        daemon.write_all(head.as_bytes()).await.expect("the daemon reads");
        let mut response = String::new();
        daemon.read_to_string(&mut response).await.expect("the daemon answers");
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{response}");
    }
}
