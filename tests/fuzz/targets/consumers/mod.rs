//! Reads a bus with consumers and operations on it from bytes, and runs them in the model.

#[path = "../../../model/consumers/disk.rs"]
mod disk;
#[path = "../../../model/consumers/expected.rs"]
mod expected;
#[path = "../../../model/consumers/ops.rs"]
mod ops;
#[path = "../../../model/consumers/world/mod.rs"]
mod world;

use sse_bus::{bus::consumers::Departure, protocol::OnFull};

use self::{
    ops::{Op, Settling, Setup},
    world::World,
};

/// The longest sequence: long ones find little that short ones do not.
const STEPS: usize = 40;

/// Runs the operations, and panics if the bus does not do what the model expects.
pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let setup = bytes.setup();
    let mut world = World::new(&setup);
    let mut outcome = Ok(());
    for _ in 0..STEPS {
        if outcome.is_err() || bytes.0.is_empty() {
            break;
        }
        let op = bytes.op();
        outcome = world.step(&op);
    }
    if let Err(wrong) = outcome.and_then(|()| world.end()) {
        panic!("{wrong}\n{setup:?}\nsteps:\n  {}\n", world.steps.join("\n  "));
    }
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// An index below this number.
    fn below(&mut self, many: usize) -> usize {
        usize::from(self.byte()) % many
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A value, if the next byte is odd.
    fn option<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| value(self))
    }

    fn setup(&mut self) -> Setup {
        Setup {
            is_on_disk: self.flag(),
            events: 1 + self.below(3),
            age: self.option(|bytes| 10 + u64::from(bytes.byte())).unwrap_or(1_000_000),
            budget: self.option(|bytes| 2000 + 24 * bytes.below(256)).unwrap_or(1 << 20),
        }
    }

    fn op(&mut self) -> Op {
        match self.below(20) {
            0..4 => Op::Publish {
                topic: self.below(3),
                key: self.option(|bytes| bytes.byte() % 2),
                ttl: self.option(|bytes| 1 + u64::from(bytes.byte() % 60)),
                size: if self.flag() { 600 } else { 1 },
                retain: self.flag(),
            },
            4 => Op::Create {
                name: self.below(3),
                filter: self.below(3),
                max_in_flight: 1 + self.below(8),
                max_attempts: 1 + self.below(3) as u32,
                on_full: if self.flag() { OnFull::Drop } else { OnFull::Refuse },
                is_short: self.flag(),
                all: self.flag(),
            },
            5 => Op::AddWorker { name: self.below(3), slots: 1 + self.below(20) },
            6 => Op::RemoveWorker {
                worker: self.byte().into(),
                departure: [Departure::Released, Departure::Lost, Departure::Detached][self.below(3)],
            },
            7..10 => Op::Take { worker: self.byte().into(), count: 1 + self.below(8) },
            10..13 => Op::Settle {
                token: self.byte().into(),
                settling: match self.below(8) {
                    0..4 => Settling::Ack,
                    4 => Settling::Nak(self.option(|bytes| u64::from(bytes.byte() % 40))),
                    5 => Settling::Extend,
                    6 => Settling::Reject,
                    _ => Settling::Release,
                },
            },
            13 => Op::Advance(1 + u64::from(self.byte() % 50)),
            14 => Op::Pause { name: self.below(3), is_paused: self.flag() },
            15 => Op::Seek { name: self.below(3), to: self.option(|bytes| bytes.byte().into()) },
            16 => Op::Dead { name: self.below(3), letter: self.byte().into(), retries: self.flag() },
            17 => Op::Delete(self.below(3)),
            18 => Op::Write(self.option(|bytes| bytes.byte() % 4)),
            _ => Op::Crash(self.option(|bytes| 1 + bytes.byte() % 2)),
        }
    }
}
