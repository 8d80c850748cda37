//! The bus against a naive model: whatever is published, read, evicted, left and resumed, in whatever order, each
//! subscriber sees exactly what it must see. A failure names the steps, what was expected and what was seen.
//!
//! `PROPTEST_CASES=100000 cargo test --release --test model` tries more.

mod index;
mod scenarios;

use proptest::prelude::*;
use sse_bus_support::model::{ops, world::World};

fn tell(setup: &ops::Setup, story: &[(ops::Op, bool)]) -> Result<(), TestCaseError> {
    let mut world = World::new(setup);
    let told = story.iter().try_for_each(|(op, batch_goes_on)| world.step(op, *batch_goes_on));
    told.and_then(|()| world.end()).map_err(|wrong| {
        let steps = world.steps.join("\n  ");
        TestCaseError::fail(format!("{wrong}\n{setup:?}\nsteps:\n  {steps}\n"))
    })
}

fn config(cases: u32) -> ProptestConfig {
    // `PROPTEST_CASES` counts for the first test; the others keep their share.
    let default = ProptestConfig::default();
    let asked = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 1000 };
    ProptestConfig {
        cases: (u64::from(asked) * u64::from(cases) / 1500).max(1) as u32,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn each_subscriber_sees_what_it_must((setup, story) in scenarios::story(60, 30)) {
        tell(&setup, &story)?;
    }
}

proptest! {
    #![proptest_config(config(15))]

    #[test]
    fn histories_longer_than_one_read_looks_at((setup, story) in scenarios::story(60, 5000)) {
        tell(&setup, &story)?;
    }
}
