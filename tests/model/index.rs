//! The index of filters against a scan of them: which subscribers a publish reaches, as subscribers connect and
//! disconnect and topics are forgotten.

use std::{collections::BTreeSet, task::Waker};

use proptest::{collection::vec, prelude::*, sample::Index};
use sse_bus::{
    Epoch, FilterSet, Topic,
    bus::{Bus, Format, Now, Publication, Read, Start, Subscription, history::Memory},
    limits::{FILTERS_MAX, Limits},
    retention::Retention,
};

use sse_bus_support::{matching, strategies};

#[derive(Clone, Debug)]
enum Op {
    Come(Vec<String>),
    Leave(Index),
    Publish(String),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => vec(strategies::filter(), 1..4).prop_map(Op::Come),
        1 => any::<Index>().prop_map(Op::Leave),
        5 => strategies::topic().prop_map(Op::Publish),
    ]
}

/// The topics of the events that a new subscriber reads from history.
fn past(bus: &mut Bus, filters: &[String], start: Start, now: Now) -> Vec<String> {
    let mut subscription = Subscription::new(FilterSet::parse(filters).expect("legal"), Format::Json);
    (subscription.start, subscription.past_only) = (start, true);
    let (id, _) = bus.subscribe(subscription, now).expect("taken");
    let mut out = Vec::new();
    while bus.read(id, now, Waker::noop(), &mut out) == Read::Ready {}
    let lines = String::from_utf8(out.concat()).expect("text");
    let reply = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    lines.lines().filter_map(|line| Some(reply(line)["event"]["topic"].as_str()?.to_owned())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_of_filters_finds_what_a_scan_finds(ops in vec(op(), 1..80), topics in 2_usize..200, events in 0_usize..3) {
        let limits = Limits { topics, ..Limits::default() };
        let history = Memory::new(Retention { events, ..Retention::default() });
        let mut bus = Bus::new(Epoch::from_seed(1), limits, Box::new(history));
        let now = Now::default();
        let mut connected = Vec::new();
        let reached = |connected: &[(_, Vec<String>)], topic: &str| {
            connected.iter().filter(|(_, filters)| filters.iter().any(|f| matching::matches(f, topic))).count() as u64
        };
        for op in ops {
            match op {
                Op::Come(filters) => {
                    let set = FilterSet::parse(&filters).expect("legal");
                    let subscription = Subscription::new(set, Format::Json);
                    connected.push((bus.subscribe(subscription, now).expect("taken").0, filters));
                }
                Op::Leave(who) if !connected.is_empty() => {
                    let (id, _) = connected.swap_remove(who.index(connected.len()));
                    bus.disconnect(id, now);
                }
                Op::Leave(_) => {}
                Op::Publish(name) => {
                    let topic = Topic::parse(&name).expect("legal");
                    let publication = Publication::new(topic, "");
                    // A full table of topics refuses new ones.
                    if let Ok(published) = bus.publish(publication, None, now) {
                        prop_assert_eq!(published.subscribers, reached(&connected, &name), "to {}", name);
                    }
                }
            }
            bus.finish().wake();
            let names = bus.topics(now).into_iter().map(|info| info.topic);
            prop_assert!(names.is_sorted_by(|a, b| a < b));
            #[cfg(debug_assertions)]
            bus.self_check();
            for info in bus.topics(now) {
                prop_assert_eq!(info.subscribers, reached(&connected, &info.topic), "{:?}", info);
            }
        }
    }
    #[test]
    fn a_read_of_history_finds_the_topics_that_a_scan_finds(
        topics in vec(strategies::topic(), 1..300),
        readers in vec(vec(strategies::filter(), 1..70), 1..8),
    ) {
        let history = Memory::new(Retention::default());
        let mut bus = Bus::new(Epoch::from_seed(1), Limits::default(), Box::new(history));
        let now = Now::default();
        for name in &topics {
            bus.publish(Publication::new(Topic::parse(name).expect("legal"), ""), None, now).expect("taken");
        }
        for filters in readers.iter().filter(|filters| filters.len() <= FILTERS_MAX) {
            let wanted = |topic: &&String| filters.iter().any(|filter| matching::matches(filter, topic));
            let expected: Vec<String> = topics.iter().filter(wanted).cloned().collect();
            prop_assert_eq!(past(&mut bus, filters, Start::All, now), expected.clone(), "{:?}", filters);
            let newest: BTreeSet<String> = expected.into_iter().collect();
            let mut latest = past(&mut bus, filters, Start::Latest, now);
            latest.sort_unstable();
            prop_assert_eq!(latest, newest.into_iter().collect::<Vec<_>>(), "{:?}", filters);
        }
    }
}
