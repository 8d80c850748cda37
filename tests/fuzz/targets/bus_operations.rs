//! Sequences of bus operations against the naive model of `tests/model`: whatever is published, read, evicted, left and
//! resumed, each subscriber sees exactly what it must see.
//!
//! The bytes are a [story](story::read): the first ones bound the bus, and each of the others chooses something.
#![no_main]

mod story;

use libfuzzer_sys::fuzz_target;
use sse_bus_support::model::{ops, world::World};

fuzz_target!(|bytes: &[u8]| {
    let (setup, steps) = story::read(bytes);
    let mut world = World::new(&setup);
    let outcome = steps.iter().try_for_each(|(op, continues_batch)| world.step(op, *continues_batch));
    if let Err(wrong) = outcome.and_then(|()| world.end()) {
        panic!("{wrong}\n{setup:?}\nsteps:\n  {}\n", world.steps.join("\n  "));
    }
});
