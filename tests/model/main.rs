//! The bus against a naive model: for any sequence of publishes, reads, evictions, disconnects and resumes, each
//! subscriber receives exactly what the model expects. A failure shows the steps, what was expected and what was
//! received.
//!
//! `PROPTEST_CASES=100000 cargo test --release --test model` tries more.

mod consumers;
mod covering;
mod index;
mod requests;
mod scenarios;

use proptest::prelude::*;
use sse_bus_support::model::{ops, world::World};

fn run(setup: &ops::Setup, scenario: &[(ops::Op, bool)]) -> Result<(), TestCaseError> {
    let mut world = World::new(setup);
    let outcome = scenario.iter().try_for_each(|(op, continues_batch)| world.step(op, *continues_batch));
    outcome.and_then(|()| world.end()).map_err(|wrong| {
        let steps = world.steps.join("\n  ");
        TestCaseError::fail(format!("{wrong}\n{setup:?}\nsteps:\n  {steps}\n"))
    })
}

fn config(cases: u32) -> ProptestConfig {
    // `PROPTEST_CASES` sets the cases of the first test; the others keep their share.
    let default = ProptestConfig::default();
    let asked = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 1000 };
    ProptestConfig {
        cases: (u64::from(asked) * u64::from(cases) / 1500).max(1) as u32,
        // `PROPTEST_MAX_SHRINK_ITERS=0` reports a failure at once.
        max_shrink_iters: default.max_shrink_iters.min(20_000),
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn each_subscriber_receives_what_the_model_expects((setup, scenario) in scenarios::scenario(60, 30)) {
        run(&setup, &scenario)?;
    }
}

proptest! {
    #![proptest_config(config(15))]

    #[test]
    fn histories_longer_than_the_part_that_one_read_scans((setup, scenario) in scenarios::scenario(60, 5000)) {
        run(&setup, &scenario)?;
    }
}
