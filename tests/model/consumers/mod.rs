//! Consumers against a naive queue: every published job is done or dead, never lost, never stuck; an event is never with two
//! workers by current tokens; events of one key go in order.

mod disk;
mod expected;
mod ops;
mod world;

use proptest::{bool::weighted, collection::vec, option, prelude::*};
use sse_bus::{bus::consumers::Departure, protocol::OnFull};

use self::{
    ops::{Op, Settling, Setup},
    world::World,
};

fn setup() -> impl Strategy<Value = Setup> {
    let bounds = (
        1_usize..4,
        prop_oneof![1 => 10_u64..100, 2 => Just(1_000_000)],
        prop_oneof![1 => 2_000_usize..8_000, 2 => Just(1 << 20)],
    );
    (any::<bool>(), bounds).prop_map(|(is_on_disk, (events, age, budget))| Setup { is_on_disk, events, age, budget })
}

fn op() -> impl Strategy<Value = Op> {
    let departure = prop_oneof![Just(Departure::Released), Just(Departure::Lost), Just(Departure::Detached)];
    let settling = prop_oneof![
        6 => Just(Settling::Ack),
        2 => option::of(0_u64..40).prop_map(Settling::Nak),
        1 => Just(Settling::Extend),
        1 => Just(Settling::Reject),
        1 => Just(Settling::Release),
    ];
    let on_full = prop_oneof![3 => Just(OnFull::Refuse), 1 => Just(OnFull::Drop)];
    let size = prop_oneof![3 => Just(1_usize), 1 => Just(600)];
    prop_oneof![
        12 => (0..3_usize, option::weighted(0.4, 0..2_u8), option::weighted(0.1, 1..60_u64), size, weighted(0.2))
            .prop_map(|(topic, key, ttl, size, retain)| Op::Publish { topic, key, ttl, size, retain }),
        2 => (0..3_usize, 0..3_usize, 1..8_usize, 1..4_u32, on_full, any::<bool>(), any::<bool>()).prop_map(
            |(name, filter, max_in_flight, max_attempts, on_full, is_short, all)| Op::Create {
                name, filter, max_in_flight, max_attempts, on_full, is_short, all
            }
        ),
        3 => (0..3_usize, 1..6_usize).prop_map(|(name, slots)| Op::AddWorker { name, slots }),
        1 => (any::<u16>(), departure).prop_map(|(worker, departure)| Op::RemoveWorker { worker, departure }),
        12 => (any::<u16>(), 1..8_usize).prop_map(|(worker, count)| Op::Take { worker, count }),
        12 => (any::<u16>(), settling).prop_map(|(token, settling)| Op::Settle { token, settling }),
        4 => (1..50_u64).prop_map(Op::Advance),
        1 => (0..3_usize, any::<bool>()).prop_map(|(name, is_paused)| Op::Pause { name, is_paused }),
        1 => (0..3_usize, option::of(any::<u16>())).prop_map(|(name, to)| Op::Seek { name, to }),
        2 => (0..3_usize, any::<u16>(), any::<bool>()).prop_map(|(name, letter, retries)| Op::Dead { name, letter, retries }),
        1 => (0..3_usize).prop_map(Op::Delete),
        3 => option::weighted(0.3, 0..4_u8).prop_map(Op::Write),
        2 => option::of(1..3_u8).prop_map(Op::Crash),
    ]
}

proptest! {
    #![proptest_config(super::config(1500))]

    #[test]
    fn every_job_is_done_or_dead(setup in setup(), ops in vec(op(), 1..120)) {
        let mut world = World::new(&setup);
        let outcome = ops.iter().try_for_each(|op| world.step(op)).and_then(|()| world.end());
        outcome.map_err(|wrong| {
            let steps = world.steps.join("\n  ");
            TestCaseError::fail(format!("{wrong}\n{setup:?}\nsteps:\n  {steps}\n"))
        })?;
    }
}
