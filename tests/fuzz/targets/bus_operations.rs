//! Sequences of bus operations against the naive model of `tests/model`: whatever is published, read, evicted, left and
//! resumed, each subscriber sees exactly what it must see.
//!
//! The bytes are a [story](story::read): the first ones bound the bus, and each of the others chooses something.
#![no_main]

#[path = "../../model/live.rs"]
mod live;
#[path = "../../model/log.rs"]
mod log;
#[path = "../../common/matching.rs"]
mod matching;
#[path = "../../model/ops.rs"]
mod ops;
mod story;
#[path = "../../model/subscriber.rs"]
mod subscriber;
#[path = "../../model/wire.rs"]
mod wire;
#[path = "../../model/world/mod.rs"]
mod world;

use libfuzzer_sys::fuzz_target;

use world::World;

fuzz_target!(|bytes: &[u8]| {
    let (setup, steps) = story::read(bytes);
    let mut world = World::new(&setup);
    let told = steps.iter().try_for_each(|(op, batch_goes_on)| world.step(op, *batch_goes_on));
    if let Err(wrong) = told.and_then(|()| world.end()) {
        panic!("{wrong}\n{setup:?}\nsteps:\n  {}\n", world.steps.join("\n  "));
    }
});
