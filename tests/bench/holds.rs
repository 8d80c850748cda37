//! How long single calls of the bus take, which is how long they hold its lock: the median over rounds of the longest
//! call, in processor time of this thread, so that other work on the machine is not counted.

use std::{collections::BTreeMap, hint::black_box, task::Waker, time::Duration};

use sse_bus::{
    Epoch, FilterSet,
    bus::{
        Bus, ClientId, ClientName, Format, Now, Publication, Read, Start, Subscription,
        history::{Memory, TopicKey},
    },
    limits::{CLIENTS_AT_ONCE, Limits},
    retention::Retention,
};

use super::{NOW, bus, publish, subscribe, topic};

const ROUNDS: usize = 9;
const TOPICS: usize = 90_000;
const SUBSCRIBERS: usize = 20_000;

/// Prints a line for each call.
pub(super) fn run() {
    println!("{:<66} {:>10}           asked", "the longest call, in processor time", "median");
    let (mut wide, mut crowd, mut varied) = (wide(), crowd(&["same"]), crowd(&["different", "$sys/clients", "own/{}"]));
    let mut lines: BTreeMap<usize, (&str, Vec<Duration>)> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let mut line = |what, longest| {
            let number = lines.iter().find(|(_, (known, _))| *known == what).map_or(lines.len(), |(number, _)| *number);
            lines.entry(number).or_insert((what, Vec::new())).1.push(longest);
        };
        for (what, filters, start) in [
            ("subscribe to `**` and read, 90,000 topics", vec!["**"], Start::Retained),
            ("the same to `*/x`", vec!["*/x"], Start::Retained),
            ("the same to `many/1/*`, all of the past", vec!["many/1/*"], Start::All),
            ("the same to `**`, all of the past", vec!["**"], Start::All),
            ("the same to `**`, the newest event of each topic", vec!["**"], Start::Latest),
        ] {
            line(what, read_all(&mut wide, &filters, start));
        }
        let filters: Vec<String> = (0..64).map(|n| format!("*/*/{n}/**")).collect();
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        line("the same to 64 patterns, all of the past", read_all(&mut wide, &filters, Start::All));
        line("list 90,000 topics", list_topics(&wide));
        line("publish + finish to 20,000 subscribers with the same filters", publish_once(&mut crowd, "same"));
        line("publish + finish to 20,000 subscribers with different filters", publish_once(&mut varied, "different"));
        line("describe topics that 20,000 different filters match", list_topics(&varied));
        line("connect beside 20,000 subscribers that watch it", connect(&mut varied));
        line("an event for 20,000 clients of one name", unicast(&mut crowd));
        line("describe 20,000 clients", describe(&crowd));
        line("heartbeats of 20,000 clients", heartbeats(&mut crowd));
    }
    for (what, mut longest) in lines.into_values() {
        longest.sort_unstable();
        println!("{what:<66} {:>7} µs           at most 1,000 µs", longest[longest.len() / 2].as_micros());
    }
    for (what, longest) in [
        ("publish to a topic with 126 levels that patterns nearly match", deep()),
        ("disconnect 20,000 clients of one name", kick(&mut crowd)),
        ("a batch for the disk, 90,000 new topics", batch()),
        ("100,000 subscribers connect, each with filters and a name of its own", connect_all(100_000)),
        ("99,000 topics are published to for the first time", publish_all(99_000)),
    ] {
        println!("{what:<66} {:>7} µs           at most 1,000 µs", longest.as_micros());
    }
}

/// The time of a call.
pub(super) fn time<R>(call: impl FnOnce() -> R) -> (R, Duration) {
    let clock = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned() as u32)
    };
    let begin = clock();
    let result = black_box(call());
    (result, clock().saturating_sub(begin))
}

/// Connects subscribers to a bus, whose tables grow.
fn connect_all(count: usize) -> Duration {
    let mut bus = bus();
    let connect = |n| {
        let filters = FilterSet::parse(&[format!("own/{n}"), "same".into()]).expect("legal");
        let mut subscription = Subscription::new(filters, Format::SseData);
        subscription.description.name = Some(ClientName::parse(&format!("client {n}")).expect("legal"));
        let (connected, connecting) = time(|| bus.subscribe(subscription, NOW));
        let (id, _) = connected.expect("taken");
        let (_, reading) = time(|| bus.read(id, NOW, Waker::noop(), &mut Vec::new()));
        finish(&mut bus, connecting.max(reading))
    };
    (0..count).map(connect).max().unwrap_or_default()
}

/// Publishes to topics of a bus, whose tables grow.
fn publish_all(topics: usize) -> Duration {
    let mut bus = bus();
    let publish = |n| {
        let publication = Publication::new(topic(&format!("many/{}/{n}", n % 100)), "x");
        let (published, took) = time(|| bus.publish(publication, None, NOW));
        published.expect("published");
        finish(&mut bus, took)
    };
    (0..topics).map(publish).max().unwrap_or_default()
}

/// A bus with very many topics, one retained event in each.
fn wide() -> Bus {
    let mut bus = bus();
    for n in 0..TOPICS {
        let publication = Publication::new(topic(&format!("many/{}/{n}", n % 100)), "x").retained();
        // They do not all fit.
        if bus.publish(publication, None, NOW).is_err() {
            publish(&mut bus, &topic(&format!("many/{}/{n}", n % 100)), "x");
        }
    }
    let _ = bus.finish();
    bus
}

fn read_all(bus: &mut Bus, filters: &[&str], start: Start) -> Duration {
    let (id, mut longest) = time(|| subscribe(bus, filters, start));
    let mut out = Vec::new();
    loop {
        out.clear();
        let (read, took) = time(|| bus.read(id, NOW, Waker::noop(), &mut out));
        longest = longest.max(took);
        if read != Read::Ready {
            return longest.max(time(|| bus.disconnect(id, NOW)).1);
        }
    }
}

fn list_topics(bus: &Bus) -> Duration {
    let (mut last, mut longest) = (None::<String>, Duration::ZERO);
    loop {
        let (topics, took) = time(|| bus.topics_after(last.as_deref(), NOW));
        longest = longest.max(took);
        let Some(end) = topics.into_iter().last() else { return longest };
        last = Some(end.topic);
    }
}

/// A bus with very many subscribers of one name. `{}` in a filter is the number of the subscriber.
fn crowd(filters: &[&str]) -> Bus {
    let mut bus = bus();
    for n in 0..SUBSCRIBERS {
        let filters: Vec<_> = filters.iter().map(|filter| filter.replace("{}", &n.to_string())).collect();
        let mut subscription = Subscription::new(FilterSet::parse(&filters).expect("legal"), Format::SseData);
        subscription.start = Start::Now;
        subscription.description.name = Some(ClientName::parse("x").expect("legal"));
        bus.subscribe(subscription, NOW).expect("taken");
    }
    bus.finish().wake();
    read_once(&mut bus);
    bus
}

fn read_once(bus: &mut Bus) {
    for id in bus.client_ids() {
        let _ = bus.read(id, NOW, Waker::noop(), &mut Vec::new());
    }
}

/// The longest step of finishing, after a call that took a time.
pub(super) fn finish(bus: &mut Bus, mut longest: Duration) -> Duration {
    loop {
        let (is_more, took) = time(|| bus.finish_some());
        longest = longest.max(took);
        if !is_more {
            break;
        }
    }
    let (wakes, took) = time(|| bus.take_wakes());
    wakes.wake();
    longest.max(took)
}

fn publish_once(bus: &mut Bus, name: &str) -> Duration {
    let publication = Publication::new(topic(name), "x");
    let took = time(|| bus.publish(publication, None, NOW)).1;
    let longest = finish(bus, took);
    read_once(bus);
    longest
}

fn connect(bus: &mut Bus) -> Duration {
    let subscription = Subscription::new(FilterSet::parse(&["other"]).expect("legal"), Format::SseData);
    let (subscribed, took) = time(|| bus.subscribe(subscription, NOW));
    let id = subscribed.expect("taken").0;
    let longest = finish(bus, took);
    let took = time(|| bus.disconnect(id, NOW)).1;
    let longest = longest.max(finish(bus, took));
    read_once(bus);
    longest
}

fn unicast(bus: &mut Bus) -> Duration {
    let publication = Publication::new(topic("t"), "x").to_client("x");
    let (unicast, mut longest) = time(|| bus.begin_unicast(publication, None, NOW));
    let mut unicast = unicast.expect("taken");
    loop {
        let (published, took) = time(|| bus.continue_unicast(&mut unicast));
        longest = longest.max(took);
        if published.is_some() {
            break;
        }
    }
    let longest = finish(bus, longest);
    read_once(bus);
    longest
}

fn describe(bus: &Bus) -> Duration {
    let (ids, longest) = time(|| bus.client_ids());
    ids.chunks(CLIENTS_AT_ONCE).map(|some| time(|| bus.describe_clients(some)).1).fold(longest, Duration::max)
}

fn heartbeats(bus: &mut Bus) -> Duration {
    static SECOND: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(100);
    let second = SECOND.fetch_add(100, std::sync::atomic::Ordering::Relaxed);
    let now = Now { mono: second * 1000, unix: 1 };
    let mut longest = Duration::ZERO;
    loop {
        let (wakes, took) = time(|| {
            bus.tick(now);
            bus.finish()
        });
        wakes.wake();
        longest = longest.max(took);
        if bus.next_timeout().is_none_or(|at| at > now.mono) {
            read_once(bus);
            return longest;
        }
    }
}

fn kick(bus: &mut Bus) -> Duration {
    let (ids, longest) = time(|| bus.addressed("x").expect("there"));
    let disconnect = |some: &[ClientId]| time(|| some.iter().for_each(|id| assert!(bus.disconnect(*id, NOW)))).1;
    ids.chunks(CLIENTS_AT_ONCE).map(disconnect).fold(longest, Duration::max)
}

/// Publishes to a topic that has as many levels of patterns to search as the bus allows.
fn deep() -> Duration {
    let mut bus = bus();
    let levels = |wild: &[usize]| {
        let levels: Vec<_> = (0..126).map(|level| if wild.contains(&level) { "*" } else { "a" }).collect();
        levels.join("/")
    };
    let pairs = (0..126).flat_map(|first| (first + 1..126).map(move |second| [first, second]));
    let filters: Vec<String> = pairs.map(|wild| format!("{}/z", levels(&wild))).collect();
    for some in filters.chunks(64) {
        let mut subscription = Subscription::new(FilterSet::parse(some).expect("legal"), Format::SseData);
        subscription.start = Start::Now;
        if bus.subscribe(subscription, NOW).is_err() {
            break;
        }
    }
    let name = topic(&levels(&[]));
    let mut rounds: Vec<_> = (0..ROUNDS).map(|_| time(|| publish(&mut bus, &name, "x")).1).collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

fn batch() -> Duration {
    let history = Memory::persistent(Retention::default(), 8 << 20);
    let mut bus = Bus::new(Epoch::from_seed(1), Limits::default(), Box::new(history));
    for n in 0..TOPICS as TopicKey {
        publish(&mut bus, &topic(&format!("many/{n}")), "x");
    }
    let mut longest = Duration::ZERO;
    loop {
        let (batch, took) = time(|| bus.take_batch(1 << 20));
        longest = longest.max(took);
        if !batch.expect("there is a journal").more {
            return longest;
        }
    }
}
