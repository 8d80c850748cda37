//! The index of filters against a scan of them: which subscribers a publish reaches, as subscribers connect and
//! disconnect and topics are forgotten.

use proptest::{collection::vec, prelude::*, sample::Index};
use sse_bus::{
    Epoch, FilterSet, Topic,
    bus::{Bus, Format, Now, Publication, Subscription, history::Memory},
    limits::{Limits, Retention},
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
            let _ = bus.finish();
            for info in bus.topics(now) {
                prop_assert_eq!(info.subscribers, reached(&connected, &info.topic), "{:?}", info);
            }
        }
    }
}
