//! A message of a stream that other programs may publish to: its subject, without the beginning that all of them have, on the first
//! line of the input, headers on the next ones, and its data after an empty line.
//!
//! What is read as an event is legal, and a node would write it in the same way.
#![no_main]

mod log;
// Where the messages of the log look for it.
#[allow(dead_code, reason = "streams have names as well")]
#[path = "../../../daemon/nats/names.rs"]
mod nats;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (head, payload) = match memchr::memmem::find(bytes, b"\n\n") {
        Some(end) => (&bytes[..end], &bytes[end + 2..]),
        None => (bytes, &b""[..]),
    };
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let subject = format!("ssebus.b.{}", lines.next().unwrap_or_default());
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        // The connection refuses others.
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            headers.append(name, value);
        }
    }
    let names = nats::Names::new("b");
    let Some((topic, is_retained)) = names.topic(&subject) else { return };
    assert_eq!(names.subject(&topic, is_retained), subject);
    log::nats::check(&topic, is_retained, &headers, payload);
});
