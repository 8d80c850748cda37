//! The steps of a scenario.

use sse_bus::{bus::consumers::Departure, protocol::OnFull};

#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) is_on_disk: bool,
    pub(super) events: usize,
    pub(super) age: u64,
    pub(super) budget: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Settling {
    Ack,
    Nak(Option<u64>),
    Extend,
    Reject,
    Release,
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Publish {
        topic: usize,
        key: Option<u8>,
        ttl: Option<u64>,
        size: usize,
        retain: bool,
    },
    Create {
        name: usize,
        filter: usize,
        max_in_flight: usize,
        max_attempts: u32,
        on_full: OnFull,
        is_short: bool,
        all: bool,
    },
    AddWorker {
        name: usize,
        slots: usize,
    },
    RemoveWorker {
        worker: u16,
        departure: Departure,
    },
    Take {
        worker: u16,
        count: usize,
    },
    Settle {
        token: u16,
        settling: Settling,
    },
    Advance(u64),
    Pause {
        name: usize,
        is_paused: bool,
    },
    Seek {
        name: usize,
        to: Option<u16>,
    },
    Dead {
        name: usize,
        letter: u16,
        retries: bool,
    },
    Delete(usize),
    /// Writes everything, or only this number of steps of the changes of consumers.
    Write(Option<u8>),
    /// The bus restarts from the disk, perhaps after a write of that many steps.
    Crash(Option<u8>),
}
