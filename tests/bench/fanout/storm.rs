//! A reconnect storm: thousands of subscribers are disconnected and reconnect at once, each with its last id.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    Result,
    crowd::{Crowd, Keep},
    daemon::{Daemon, On, Publisher, event},
    line,
};

const LOST: usize = 10_000;
/// Subscribers of another topic that stay connected, and the interval of their events.
const OTHERS: usize = 100;
const PACE: Duration = Duration::from_millis(20);
/// Events that are missed.
const MISSED: usize = 20;

pub(super) fn run() -> Result<()> {
    let daemon = Daemon::start(On::All, &[])?;
    let mut publisher = daemon.publisher()?;
    let mut lost = Crowd::new(daemon.address)?;
    lost.connect(Keep::Count, (0..LOST).map(|_| "/events/storm".into()))?;
    publisher.send(&event("storm", "before"))?;
    lost.wait_for(LOST as u64)?;
    let position = publisher.position()?;
    let mut others = Crowd::new(daemon.address)?;
    others.connect(Keep::Count, (0..OTHERS).map(|_| "/events/live".into()))?;
    // Latencies without a storm.
    let (over, quiet_until) = (AtomicBool::new(false), Instant::now() + Duration::from_secs(1));
    let quiet = live(&mut others, &mut daemon.publisher()?, || Instant::now() > quiet_until)?;

    let (back, complete, live) = thread::scope(|scope| {
        let live = scope.spawn(|| live(&mut others, &mut daemon.publisher()?, || over.load(Ordering::Relaxed)));
        let storm = storm(&mut lost, &mut publisher, &position);
        over.store(true, Ordering::Relaxed);
        let live = live.join().map_err(|_| "the thread of the others has panicked")?;
        let (back, complete) = storm?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((back, complete, live?))
    })?;
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    line("10,000 subscribers lost at once: until all are back", &seconds(back), "", "inside 10 s");
    line("  until each has exactly what it missed, and the next event", &seconds(complete), "", "inside 10 s");
    let millis = |latencies: &[f64], percent: usize| format!("{:.1} ms", quantile(latencies, percent) * 1e3);
    line("  latency of 100 others before, median", &millis(&quiet, 50), "", "–");
    line("  the same, 99th percentile", &millis(&quiet, 99), "", "–");
    line("  latency of 100 others meanwhile, median", &millis(&live, 50), "", "–");
    line("  the same, 99th percentile", &millis(&live, 99), "", "below 50 ms");
    Ok(())
}

/// Disconnects all and reconnects them. Returns the time until they were connected, and until they had everything.
fn storm(crowd: &mut Crowd, publisher: &mut Publisher, position: &str) -> Result<(Duration, Duration)> {
    crowd.leave();
    let mut missed = String::new();
    for number in 0..MISSED {
        missed.push_str(&event("storm", &format!("missed {number}")));
    }
    publisher.send(&missed)?;
    publisher.status()?;
    crowd.delivered = 0;

    let began = Instant::now();
    let path = format!("/events/storm\nLast-Event-ID: {position}\r\n");
    for i in 0..LOST {
        crowd.begin(Keep::All, &path)?;
        // Responses are read meanwhile, as browsers would.
        if i % 100 == 99 {
            crowd.pump(Duration::ZERO)?;
        }
    }
    crowd.wait("all to be reconnected", Crowd::all_connected)?;
    let back = began.elapsed();
    publisher.send(&event("storm", "next"))?;
    crowd.wait_for((LOST * (MISSED + 1)) as u64)?;
    let complete = began.elapsed();

    let expected: Vec<String> =
        (0..MISSED).map(|number| format!("missed {number}")).chain(["next".to_owned()]).collect();
    for client in &crowd.clients {
        let stream = String::from_utf8_lossy(&client.stream);
        if !stream.lines().filter_map(|line| line.strip_prefix("data: ")).eq(expected.iter().map(String::as_str)) {
            return Err(format!("a subscriber did not receive the events that it missed:\n{stream}").into());
        }
    }
    Ok((back, complete))
}

/// Publishes to some at a pace. Returns the latencies of all deliveries, in seconds.
fn live(crowd: &mut Crowd, publisher: &mut Publisher, over: impl Fn() -> bool) -> Result<Vec<f64>> {
    crowd.clients.iter_mut().for_each(|client| client.events = 0);
    (crowd.delivered, crowd.sent, crowd.latencies) = (0, Vec::new(), Vec::new());
    let line = event("live", "x");
    let mut next = Instant::now();
    while !over() {
        let now = Instant::now();
        if now >= next {
            crowd.sent.push(now);
            publisher.send(&line)?;
            next += PACE;
        }
        crowd.pump(next.saturating_duration_since(Instant::now()))?;
    }
    crowd.wait_for((crowd.sent.len() * OTHERS) as u64)?;
    Ok(std::mem::take(&mut crowd.latencies))
}

fn quantile(figures: &[f64], percent: usize) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * percent / 100]
}
