//! The delay until clients of Python deliver an event. urllib3 delivers nothing of a stream without chunks until a
//! buffer is full.

use std::time::{Duration, Instant};

use sse_bus_browser_tests::{Bus, eventually};

use crate::{TOPIC, listeners::Streams, programs};

/// The number of events, one per second.
const EVENTS: usize = 4;
/// Far more than an event takes on a busy machine, and less than the seconds that a buffer takes to fill up.
const SOON: Duration = Duration::from_millis(900);

#[tokio::test]
async fn an_event_arrives_before_the_next_one_is_published() {
    let bus = Bus::start().await;
    let listeners = programs::python(&Streams { bus: &bus, query: "" }, &programs::PYTHON);
    bus.subscribers(listeners.len()).await;

    let mut slowest = Duration::ZERO;
    for n in 0..EVENTS {
        let data = format!("event {n}");
        let began = Instant::now();
        bus.ctl(&["publish", TOPIC, &data]).await;
        eventually(&format!("{data} at every client, before there is another"), async || {
            let mut missing = Vec::new();
            for listener in &listeners {
                if !listener.heard().await.iter().any(|heard| heard.data == data) {
                    missing.push(listener.name);
                }
            }
            if missing.is_empty() { Ok(()) } else { Err(format!("missing at {missing:?}")) }
        })
        .await;
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(Duration::from_secs(1).saturating_sub(began.elapsed())).await;
    }
    println!("every event arrived within {slowest:.0?} of the start of its publisher");
    assert!(slowest < SOON, "{slowest:?}");
}
