//! Costs of the core, in lines of figure, ratio and target. A plain program: the figures are medians of many rounds
//! over a steady state, which needs no framework, and compiles in a second.
//!
//! `cargo bench --no-default-features --features bus --bench core`

#[cfg(target_os = "linux")]
#[path = "core/consumer_holds.rs"]
mod consumer_holds;
#[path = "core/consumers.rs"]
mod consumers;
#[cfg(target_os = "linux")]
mod holds;

use std::{
    hint::black_box,
    task::Waker,
    time::{Duration, Instant},
};

use sse_bus::{
    Epoch, FilterSet, Topic,
    bus::{Bus, ClientId, Format, Now, Publication, Read, Start, Subscription, history::Memory},
    limits::Limits,
    retention::{Retention, TopicRule},
};

const ROUNDS: usize = 41;
const EVENTS: u32 = 10_000;
const NOW: Now = Now { mono: 1, unix: 1 };

fn main() {
    #[cfg(target_os = "linux")]
    if consumer_holds::measure_memory() {
        return;
    }
    println!("{:<66} {:>10} {:>8}  asked", "what", "median", "ratio");
    let one = one_feed();
    line("publish + finish, 1 matching feed, 1 reader that drains", one, None, "at most 1 µs");
    let many = many_filters();
    line("the same, 10,000 topics, 1,000 filters of which 2 match", many, Some(one), "ratio at most 1.5");
    let alone = unwanted(&[], 0);
    line("publish + finish without a match, no subscribers", alone, None, "–");
    let beside = unwanted(&[], 10_000);
    line("the same, 10,000 subscribers elsewhere", beside, Some(alone), "ratio about 1");
    let ruled = unwanted(&rules(), 0);
    line("the same, to a topic that the last of 100 rules matches", ruled, Some(alone), "ratio about 1");
    let publishes = change_of_bounds(1_000_000);
    line("publish while 1,000,000 events have to go", publishes[publishes.len() / 2], None, "at most 1 ms");
    println!("{:<66} {:>10}", "publishes until they have", publishes.len());
    let replay = replay(100_000);
    line("replay, an event of 100,000", replay, None, "–");
    println!("{:<66} {:>7.2} M/s", "replay, events a second", 1e-6 / replay.as_secs_f64());
    consumers::run();
    #[cfg(target_os = "linux")]
    {
        holds::run();
        consumer_holds::run();
    }
}

fn line(what: &str, figure: Duration, against: Option<Duration>, asked: &str) {
    let ratio = against.map_or(String::new(), |base| format!("{:.2}", figure.as_secs_f64() / base.as_secs_f64()));
    println!("{what:<66} {:>7} ns {ratio:>8}  {asked}", figure.as_nanos());
}

fn bus() -> Bus {
    bus_of(Retention::default())
}

fn bus_of(retention: Retention) -> Bus {
    let limits = Limits { subscribers: 100_000, filters_bytes: 1 << 30, ..Limits::default() };
    Bus::new(Epoch::from_seed(1), limits, Box::new(Memory::new(retention)))
}

/// A hundred rules, of which the last matches every topic published here, with the default bounds.
fn rules() -> Vec<TopicRule> {
    let filter = |i| if i < 99 { format!("some/{i}/**") } else { "**".into() };
    let rule = |i| TopicRule {
        filters: FilterSet::parse(&[filter(i)]).expect("legal filters"),
        events: Some(Retention::default().events),
        bytes: Some(Retention::default().bytes),
        age: Some(Duration::from_hours(23)),
    };
    (0..100).map(rule).collect()
}

fn topic(name: &str) -> Topic {
    Topic::parse(name).expect("a legal topic")
}

fn publish(bus: &mut Bus, topic: &Topic, data: &str) {
    let data = data.to_owned();
    let publication = Publication::new(topic.clone(), data);
    black_box(bus.publish(publication, None, NOW)).expect("a publish that is taken");
    bus.finish().wake();
}

fn subscribe(bus: &mut Bus, filters: &[&str], start: Start) -> ClientId {
    let filters = FilterSet::parse(filters).expect("legal filters");
    let mut subscription = Subscription::new(filters, Format::SseData);
    subscription.start = start;
    let (id, _) = bus.subscribe(subscription, NOW).expect("a subscription that is taken");
    bus.finish().wake();
    id
}

/// Reads everything. Returns the bytes.
fn drain(bus: &mut Bus, id: ClientId) -> usize {
    let (mut out, mut bytes) = (Vec::new(), 0);
    loop {
        let read = bus.read(id, NOW, Waker::noop(), &mut out);
        bytes += out.drain(..).map(|part| black_box(part).len()).sum::<usize>();
        if read != Read::Ready {
            return bytes;
        }
    }
}

/// The median over rounds of the cost of one event.
fn measure(mut round: impl FnMut() -> Duration) -> Duration {
    let mut rounds: Vec<Duration> = (0..ROUNDS).map(|_| round()).collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

/// Publishes a round to topics in turn. The readers drain every hundred events; their time is not counted.
fn publish_round(bus: &mut Bus, topics: &[Topic], readers: &[ClientId], data: &str) -> Duration {
    let mut spent = Duration::ZERO;
    for hundred in 0..EVENTS / 100 {
        let start = Instant::now();
        for i in 0..100 {
            publish(bus, &topics[(hundred * 100 + i) as usize % topics.len()], data);
        }
        spent += start.elapsed();
        for reader in readers {
            drain(bus, *reader);
        }
    }
    spent / EVENTS
}

/// Publishes until each topic and the budget are at their bounds: every publish then evicts an event.
fn fill(bus: &mut Bus, topics: &[Topic], data: &str) {
    while bus.status().history_events as usize + 1 < topics.len() * Retention::default().events {
        let before = bus.status().history_events;
        for topic in topics.iter().cycle().take(20_000) {
            publish(bus, topic, data);
        }
        if bus.status().history_events <= before {
            break;
        }
    }
}

fn one_feed() -> Duration {
    let (mut bus, data) = (bus(), "x".repeat(200));
    let topics = [topic("build/web")];
    fill(&mut bus, &topics, &data);
    let reader = subscribe(&mut bus, &["build/web"], Start::Now);
    measure(|| publish_round(&mut bus, &topics, &[reader], &data))
}

/// The published topic matches two of the filters; it is one of many topics with history.
fn many_filters() -> Duration {
    let (mut bus, data) = (bus(), "x".repeat(200));
    let all: Vec<Topic> = (0..10_000).map(|i| topic(&format!("t/{}/{i}", i % 100))).collect();
    fill(&mut bus, &all, &data);
    let hot = [topic("t/7/7")];
    for _ in 0..Retention::default().events {
        publish(&mut bus, &hot[0], &data);
    }
    let mut readers = vec![subscribe(&mut bus, &["t/7/7"], Start::Now), subscribe(&mut bus, &["t/7/7/**"], Start::Now)];
    for i in 0..998 {
        let filter = if i % 2 == 0 { format!("t/8/{i}") } else { format!("u/*/{i}") };
        readers.push(subscribe(&mut bus, &[&filter], Start::Now));
    }
    measure(|| publish_round(&mut bus, &hot, &readers[..2], &data))
}

fn unwanted(rules: &[TopicRule], subscribers: usize) -> Duration {
    let (mut bus, data) = (bus_of(Retention { rules: rules.to_vec(), ..Retention::default() }), "x".repeat(200));
    let topics = [topic("build/web")];
    fill(&mut bus, &topics, &data);
    for i in 0..subscribers {
        subscribe(&mut bus, &[&format!("other/{i}")], Start::Now);
    }
    measure(|| publish_round(&mut bus, &topics, &[], &data))
}

/// The times of publishes after a change of the bounds, until no event is outside of them, sorted. The change itself is
/// counted with them.
fn change_of_bounds(events: usize) -> Vec<Duration> {
    let (none, data) = (usize::MAX, "x".repeat(200));
    let roomy = Retention { events: none, bytes: none, budget: none, ..Retention::default() };
    let mut bus = bus_of(roomy.clone());
    let topics: Vec<Topic> = (0..1000).map(|i| topic(&format!("t/{i}"))).collect();
    for topic in topics.iter().cycle().take(events) {
        publish(&mut bus, topic, &data);
    }
    let start = Instant::now();
    bus.configure(bus.limits().clone(), Retention { events: 10, ..roomy }, NOW);
    let mut spent = vec![start.elapsed()];
    for topic in topics.iter().cycle() {
        if !bus.is_behind() {
            break;
        }
        let start = Instant::now();
        publish(&mut bus, topic, &data);
        spent.push(start.elapsed());
    }
    assert!(bus.status().history_events <= 10 * topics.len() as u64);
    spent.sort_unstable();
    spent
}

/// Subscribes from the beginning and reads all of a history spread over ten topics.
fn replay(events: u32) -> Duration {
    let (mut bus, data) = (bus(), "x".repeat(200));
    let topics: Vec<Topic> = (0..10).map(|i| topic(&format!("t/{i}"))).collect();
    for topic in topics.iter().cycle().take(events as usize) {
        publish(&mut bus, topic, &data);
    }
    let held = bus.status().history_events as u32 - 1;
    assert!(held > events * 9 / 10, "history holds {held} of {events}");
    measure(|| {
        let id = subscribe(&mut bus, &["t/*"], Start::All);
        let start = Instant::now();
        let bytes = drain(&mut bus, id);
        let spent = start.elapsed();
        assert!(bytes > events as usize * 200);
        bus.disconnect(id, NOW);
        spent / held
    })
}
