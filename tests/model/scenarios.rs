//! Generators of scenarios: a bus and the operations on it. Small numbers and few choices, so that a failure shrinks to
//! something readable.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*};
use sse_bus::{
    FilterSet,
    bus::Format,
    limits::Limits,
    protocol::Slow,
    retention::{Retention, TopicRule},
};

use sse_bus_support::model::ops::{
    FILTERS, GARBAGE, Index, NAMES, Op, READERS, Retain, Setup, Since, Size, TOPICS, To,
};

fn index() -> impl Strategy<Value = Index> {
    any::<u16>().prop_map(Index)
}

fn rule() -> impl Strategy<Value = TopicRule> {
    let age = || (0_u64..100).prop_map(Duration::from_millis);
    let bounds = (option::of(0_usize..4), option::weighted(0.2, 300_usize..1500), option::weighted(0.3, age()));
    (0..FILTERS.len(), bounds).prop_map(|(filters, (events, bytes, age))| {
        let filters = FilterSet::parse(FILTERS[filters]).expect("legal");
        TopicRule { filters, events, bytes, age }
    })
}

fn retention() -> impl Strategy<Value = Retention> {
    let bounds = (
        prop_oneof![3 => 1_usize..6, 2 => Just(10_000)],
        prop_oneof![1 => 300_usize..1500, 3 => Just(usize::MAX)],
        prop_oneof![1 => 10_u64..100, 3 => Just(1_000_000)],
        prop_oneof![1 => 600_usize..4000, 3 => Just(usize::MAX)],
    );
    let rules = prop_oneof![1 => Just(Vec::new()), 1 => vec(rule(), 1..3)];
    (bounds, rules).prop_map(|((events, bytes, age, budget), rules)| {
        let age = Duration::from_millis(age);
        Retention { events, bytes, age, budget, rules }
    })
}

fn setup() -> impl Strategy<Value = Setup> {
    let limits = (
        prop_oneof![1 => 1_usize..300, 1 => Just(1 << 20)],
        prop_oneof![1 => 1_usize..300, 3 => Just(64 << 20)],
        prop_oneof![1 => 1_usize..200, 1 => Just(1 << 20)],
        prop_oneof![1 => 2_usize..5, 3 => Just(100_000)],
        prop_oneof![1 => 300_usize..900, 3 => Just(16 << 20)],
    );
    let format = prop_oneof![
        2 => Just(Format::SseData),
        1 => Just(Format::SseJson),
        2 => Just(Format::Json),
        1 => Just(Format::BinaryV1),
        1 => Just(Format::BinaryV2)
    ];
    let feeds = prop_oneof![2 => Just(1), 3 => 2_usize..4, 1 => Just(20)]
        .prop_flat_map(move |n| vec((0..FILTERS.len(), format.clone()), n));
    let on_disk = prop_oneof![2 => Just(None), 1 => Just(Some(0)), 1 => (300_usize..2000).prop_map(Some)];
    let window = prop_oneof![2 => Just(None), 1 => (1_usize..40).prop_map(Some)];
    (retention(), limits, on_disk, window, feeds).prop_map(|(retention, limits, on_disk, window, feeds)| {
        let (feed_buffer, all_feeds, unicast_buffer, topics, retained_bytes) = limits;
        let window = window.filter(|_| on_disk.is_none());
        // The log is without these limits.
        let (topics, retained_bytes) = if window.is_some() { (100_000, 16 << 20) } else { (topics, retained_bytes) };
        let limits = Limits {
            topics,
            retained_bytes,
            feed_buffer,
            feeds_buffer: all_feeds,
            unicast_buffer,
            ..Limits::default()
        };
        Setup { retention, limits, on_disk, window, feeds }
    })
}

fn op(burst: usize) -> impl Strategy<Value = Op> {
    let topic = || 0..TOPICS.len();
    let size = || prop_oneof![20 => Just(Size::Small), 1 => Just(Size::Lines), 3 => Just(Size::Big)];
    let retain = prop_oneof![5 => Just(Retain::No), 2 => Just(Retain::Yes), 1 => Just(Retain::Clear)];
    let ttl = prop_oneof![8 => Just(None), 1 => (0_u64..60).prop_map(Some)];
    let publish = (topic(), size(), retain, ttl).prop_map(|(topic, size, retain, ttl_ms)| Op::Publish {
        topic,
        size,
        retain,
        ttl_ms,
    });
    let to = || prop_oneof![index().prop_map(To::Id), (0..NAMES.len()).prop_map(To::Name)];
    let since = prop_oneof![
        3 => Just(Since::None),
        2 => Just(Since::Now),
        2 => Just(Since::Latest),
        3 => Just(Since::All),
        1 => (0_u64..150).prop_map(|ms| Since::Last { ms }),
        4 => index().prop_map(Since::Seq),
        1 => (1_u64..9).prop_map(|by| Since::Beyond { by }),
        1 => (0_u64..20).prop_map(|seq| Since::OtherEpoch { seq }),
        1 => (0..GARBAGE.len()).prop_map(Since::Garbage),
    ];
    let slow = || prop_oneof![3 => Just(Slow::Gap), 2 => Just(Slow::Latest), 1 => Just(Slow::Disconnect)];
    let name = option::weighted(0.3, 0..NAMES.len());
    let reader = || prop_oneof![3 => Just(0), 1 => 1..READERS];
    let reads = option::weighted(0.8, reader());
    let subscribe = (index(), since, slow(), name, proptest::bool::weighted(0.1), reads).prop_map(
        |(feed, since, slow, name, past_only, reader)| Op::Subscribe { feed, since, slow, name, past_only, reader },
    );
    let who = index;
    let crowd = (index(), 2_usize..5, slow(), reader()).prop_map(|(feed, many, slow, reader)| Op::Crowd {
        feed,
        many,
        slow,
        reader,
    });
    let burst = prop_oneof![1 => Just((burst, Size::Small)), 1 => Just((3, Size::Big))];
    prop_oneof![
        40 => publish,
        1 => Just(Op::PublishToMany),
        4 => (topic(), burst).prop_map(|(topic, (events, size))| Op::Burst { topic, events, size }),
        5 => (to(), size()).prop_map(|(to, size)| Op::Unicast { to, size }),
        12 => subscribe,
        8 => crowd,
        10 => who().prop_map(|who| Op::Read { who }),
        10 => who().prop_map(|who| Op::Drain { who }),
        4 => Just(Op::DrainAll),
        12 => (reader(), index()).prop_map(|(reader, shared)| Op::ReadShared { reader, shared }),
        4 => reader().prop_map(|reader| Op::DrainGroups { reader }),
        3 => who().prop_map(|who| Op::LeaveSharedCursor { who }),
        4 => (who(), index()).prop_map(|(who, from)| Op::Resume { who, from }),
        4 => who().prop_map(|who| Op::ResumeLast { who }),
        2 => who().prop_map(|who| Op::Disconnect { who }),
        2 => to().prop_map(|to| Op::Kick { to }),
        4 => (1_u64..80).prop_map(|ms| Op::Pass { ms }),
        2 => Just(Op::Tick),
        1 => retention().prop_map(Op::Configure),
        1 => Just(Op::Heartbeats),
        2 => Just(Op::Restart),
    ]
}

/// A bus and operations. Each has a flag that continues the batch, so that [`sse_bus::bus::Bus::finish`] is called
/// later.
pub(crate) fn scenario(steps: usize, burst: usize) -> impl Strategy<Value = (Setup, Vec<(Op, bool)>)> {
    (setup(), vec((op(burst), proptest::bool::weighted(0.15)), 1..steps))
}
