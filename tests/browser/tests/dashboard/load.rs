//! A stream faster than a person reads: the page still reacts at once, and counts every event.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::json;
use sse_bus_browser_tests::{Browser, Bus, Tab, Value, eventually};

use super::says;

const RATE: usize = 5000;
const TOPICS: usize = 20;
/// Inputs of a round.
const FEWEST: u64 = 6;
/// From input to paint, in milliseconds.
const AT_ONCE: f64 = 200.0;
/// A multiple of the time without the load, where that is more.
const IDLE: f64 = 4.0;

#[tokio::test]
async fn at_five_thousand_events_a_second_all_are_counted_and_inputs_painted_at_once() {
    // `SSE_BUS_LOAD_SECONDS` sets more.
    let seconds = std::env::var("SSE_BUS_LOAD_SECONDS").ok().map_or(10, |text| text.parse().expect("a number"));
    let bus = Bus::start().await;
    let browser = Browser::start().await;
    let page = browser.open(&bus.url()).await;
    let client = page.connected().await;
    page.eval(
        "window.late = [];
         new PerformanceObserver((list) => late.push(...list.getEntries().filter((e) => e.interactionId).map((e) => `${e.name} ${e.duration}`)))
           .observe({ type: 'event', durationThreshold: 16 });",
    )
    .await;

    let load = Load::start(bus.socket());
    let mut rounds = Vec::new();
    for _ in 0..3 {
        rounds.push(round(&page, Duration::from_secs(seconds) / 3).await);
    }
    page.screenshot("load").await;
    let (published, took) = load.stop();
    eprintln!(
        "{published} events in {took:.1?}: {:.0} a second; asked were {RATE}",
        published as f64 / took.as_secs_f64()
    );
    for (inputs, most, slowest) in &rounds {
        eprintln!("{inputs} inputs: nine of ten were painted within {most} ms, the slowest within {slowest} ms");
    }

    // Events received and events missed add up to those published.
    eventually("the page to have counted everything", async || {
        let [received, missed] = counts(&page).await;
        if received + missed == published { Ok(()) } else { Err(format!("{received} and {missed} of {published}")) }
    })
    .await;
    let [received, missed] = counts(&page).await;
    eprintln!("the page has received {received} events and missed {missed}");
    let clients = bus.json(&["clients"]).await;
    let own = clients.iter().find(|listed| listed["name"] == *client).expect("the page is a client");
    assert_eq!(own["events"], received);
    let topics = bus.json(&["topics"]).await;
    let of_load = topics.iter().filter(|topic| topic["topic"].as_str().unwrap().starts_with("load/"));
    let counted: Vec<_> = of_load.map(|topic| topic["published"].as_u64().unwrap()).collect();
    assert_eq!((counted.len(), counted.iter().sum()), (TOPICS, published));
    // The table has the daemon's own figures.
    for count in counted {
        says(&page, "#topics .number", &Grouped(count).to_string()).await;
    }

    // On a slow machine, inputs are slow without the load, too.
    let (_, idle, _) = round(&page, Duration::from_secs(1)).await;
    eprintln!("without the load nine of ten were painted within {idle} ms");
    let best = rounds.iter().map(|(_, most, _)| *most).fold(f64::INFINITY, f64::min);
    let bound = AT_ONCE.max(IDLE * idle);
    assert!(best < bound, "in the best of three rounds nine of ten inputs were painted within {best} ms, not {bound}");
    browser.quit().await;
}

/// Clicks for a while. Returns the number of clicks, and the time from input to paint that nine of ten took at most,
/// and that of the slowest.
async fn round(page: &Tab, length: Duration) -> (u64, f64, f64) {
    page.eval("late.length = 0; window.before = performance.eventCounts.get('click')").await;
    let place = page
        .eval("const { x, y, width, height } = pause.getBoundingClientRect(); return [x + width / 2, y + height / 2]")
        .await;
    let [x, y] = [0, 1].map(|n| place[n].as_f64().expect("a number"));
    let (end, mut taps) = (Instant::now() + length, 0);
    // On a busy machine the driver is slow, too.
    while Instant::now() < end || taps < FEWEST {
        taps += 1;
        // Pausing and resuming draws everything that is kept, the most work that a click causes.
        page.tap(x, y).await;
        // A person's pace.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let inputs = page.eval("return performance.eventCounts.get('click') - before").await.as_u64().unwrap();
    let late = page.strings("late").await;
    let times = late.iter().map(|entry| entry.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    let mut times: Vec<_> = times.collect();
    // The browser reports only those of at least 16 ms.
    times.resize(times.len().max(inputs as usize), 16.0);
    times.sort_unstable_by(f64::total_cmp);
    assert!(inputs + 1 >= FEWEST, "only {inputs} of {taps} inputs reached the page");
    (inputs, times[(times.len() * 9) / 10], times[times.len() - 1])
}

/// The events that the page has received and missed.
async fn counts(page: &Tab) -> [u64; 2] {
    let number = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
    let received = page.texts("#received").await.concat();
    let gaps = page.texts("#gaps").await.concat();
    let missed = gaps.split(',').skip(1).collect::<String>();
    [number(&received), number(&missed)]
}

/// A number in the page's format: 12,345.
struct Grouped(u64);

impl std::fmt::Display for Grouped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            n if n < 1000 => write!(f, "{n}"),
            n => write!(f, "{},{:03}", Grouped(n / 1000), n % 1000),
        }
    }
}

/// Publishes at a rate, or as fast as the daemon accepts.
struct Load {
    has_ended: Arc<AtomicBool>,
    publisher: JoinHandle<(u64, Duration)>,
}

impl Load {
    fn start(socket: PathBuf) -> Load {
        let has_ended = Arc::new(AtomicBool::new(false));
        let over = has_ended.clone();
        let publisher = thread::spawn(move || {
            let mut bus = UnixStream::connect(socket).expect("the daemon listens");
            let (began, mut published) = (Instant::now(), 0);
            while !over.load(Ordering::Relaxed) {
                let due = (began.elapsed().as_secs_f64() * RATE as f64) as usize;
                let lines: String = (published..due.min(published + RATE / 10)).map(line).collect();
                bus.write_all(lines.as_bytes()).expect("the daemon reads");
                published = due.min(published + RATE / 10);
                thread::sleep(Duration::from_millis(10));
            }
            // Answered once all of them are published.
            writeln!(bus, "{}", json!({ "status": {} })).expect("the daemon reads");
            let mut reply = String::new();
            BufReader::new(bus).read_line(&mut reply).expect("the daemon answers");
            let status: Value = serde_json::from_str(&reply).expect("JSON");
            assert!(status["status"].is_object(), "{reply}");
            (published as u64, began.elapsed())
        });
        Load { has_ended, publisher }
    }

    fn stop(self) -> (u64, Duration) {
        self.has_ended.store(true, Ordering::Relaxed);
        self.publisher.join().expect("the publisher has not failed")
    }
}

fn line(number: usize) -> String {
    let data = json!({ "number": number, "level": "info", "message": "what a program has to say ".repeat(5) });
    let event = json!({ "topic": format!("load/{}", number % TOPICS), "type": "sample", "data": data.to_string(), "ack": "none" });
    json!({ "publish": event }).to_string() + "\n"
}
