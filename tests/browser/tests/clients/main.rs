//! Clients of event streams from other projects, each used as its documentation shows. Each must receive every event
//! once, in order and unchanged, except for the faults of its own that `deviations` lists.

mod checks;
mod crates;
mod deviations;
mod latency;
mod listeners;
mod mixed;
mod programs;
mod refusals;
mod restarts;
mod web;
mod workarounds;

const TOPIC: &str = "mixed";

/// An event as a client delivers it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
struct Heard {
    #[serde(rename = "type")]
    kind: String,
    data: String,
}
