//! Programs that read a stream line by line.

use std::time::Instant;

use serde_json::Value;
use sse_bus_browser_tests::Bus;

use crate::{TIMEOUT, prints, reader};

#[tokio::test]
async fn requests_decodes_a_stream_as_utf_8() {
    let bus = Bus::start().await;
    let (_reader, output) = reader(&bus, "requests decode_unicode", "/events/t");
    bus.subscribers(1).await;
    bus.ctl(&["publish", "t", "Grüße 你好"]).await;
    bus.ctl(&["publish", "t", "one\u{2028}line"]).await;
    bus.ctl(&["publish", "t", "the last"]).await;
    let printed = prints(&output, "the last").await;
    let lines: Vec<String> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.contains(&"data: Grüße 你好".into()), "{lines:?}");
    // A fault of `iter_lines` with text; docs/how-to/choose-a-client.md lists it.
    assert!(lines.windows(2).any(|two| two == ["data: one", "line"]), "{lines:?}");
}

/// `iter_lines` of httpx splits text, and so also at these characters.
#[tokio::test]
async fn line_separators_of_unicode_do_not_split_an_envelope() {
    const DATA: &str = "a\u{2028}b\u{2029}c\u{85}d\u{b}e\u{c}f\u{1c}g\u{1d}h\u{1e}i";
    let bus = Bus::start().await;
    let (_reader, output) = reader(&bus, "httpx", "/events/t?format=json");
    bus.subscribers(1).await;
    bus.ctl(&["publish", "t", DATA]).await;
    bus.ctl(&["publish", "t", "the last"]).await;
    let printed = prints(&output, "the last").await;
    let lines = printed.lines().map(|line| serde_json::from_str::<String>(line).unwrap());
    let envelopes: Vec<Value> = lines
        .filter_map(|line| Some(serde_json::from_str(line.strip_prefix("data: ")?).expect("a line is complete JSON")))
        .collect();
    assert_eq!(envelopes[0]["data"], DATA);
}

#[tokio::test]
async fn httpx_with_its_default_timeout_reads_a_quiet_stream_with_heartbeats() {
    let bus = Bus::start().await;
    let (_reader, output) = reader(&bus, "httpx", "/events/t?heartbeat=4s");
    bus.subscribers(1).await;
    let began = Instant::now();
    prints(&output, &"\":\"\n".repeat(3)).await;
    assert!(began.elapsed() > TIMEOUT, "three heartbeats within {:?}", began.elapsed());
    bus.ctl(&["publish", "t", "after the quiet"]).await;
    prints(&output, "after the quiet").await;
}
