//! The bus, the expected queues, and the steps of a scenario.

mod deliveries;
mod end;
mod queues;

use std::{collections::BTreeMap, fmt, sync::Arc, task::Waker, time::Duration};

use sse_bus::{
    Epoch,
    bus::{
        Bus, Now,
        consumers::{ConsumerName, Token, WorkerId},
        fetch::Fetched,
        history::Memory,
    },
    limits::Limits,
    retention::Retention,
};

use super::{
    disk::Disk,
    expected::Queue,
    ops::{Op, Setup},
};

const TOPICS: [&str; 3] = ["a", "a/b", "c"];
/// Filters, each with the topics that they match.
const FILTERS: [(&[&str], &[usize]); 3] = [(&["a"], &[0]), (&["a/**"], &[0, 1]), (&["**"], &[0, 1, 2])];
const EPOCH: &str = "e";

/// A delivery, as long as its token is current.
#[derive(Clone, Debug)]
struct Current {
    token: Token,
    name: ConsumerName,
    seq: u64,
    deadline: u64,
    worker: WorkerId,
}

struct Published {
    topic: usize,
    key: Option<u8>,
    expires: Option<u64>,
}

pub(super) struct World {
    bus: Bus,
    retention: Retention,
    disk: Option<Disk>,
    /// A bus without consumers, if the budget is no bound.
    twin: Option<Bus>,
    now: Now,
    queues: BTreeMap<ConsumerName, Queue>,
    published: BTreeMap<u64, Published>,
    current: Vec<Current>,
    stale: Vec<Token>,
    workers: Vec<(WorkerId, ConsumerName)>,
    fetched: Vec<Arc<Fetched>>,
    pub(super) steps: Vec<String>,
}

fn name(index: usize) -> ConsumerName {
    ConsumerName::parse(["one", "two", "three"][index]).expect("legal")
}

impl World {
    pub(super) fn new(setup: &Setup) -> World {
        let retention = Retention {
            events: setup.events,
            age: Duration::from_millis(setup.age),
            budget: setup.budget,
            ..Retention::default()
        };
        let has_twin = !setup.is_on_disk && setup.budget == 1 << 20;
        let twin = has_twin.then(|| World::bus(&retention, false));
        World {
            bus: World::bus(&retention, setup.is_on_disk),
            retention,
            disk: setup.is_on_disk.then(Disk::default),
            twin,
            now: Now { mono: 1000, unix: 5000 },
            queues: BTreeMap::new(),
            published: BTreeMap::new(),
            current: Vec::new(),
            stale: Vec::new(),
            workers: Vec::new(),
            fetched: Vec::new(),
            steps: Vec::new(),
        }
    }

    fn bus(retention: &Retention, is_on_disk: bool) -> Bus {
        let history =
            if is_on_disk { Memory::persistent(retention.clone(), 500) } else { Memory::new(retention.clone()) };
        Bus::new(Epoch::parse(EPOCH).expect("legal"), Limits::default(), Box::new(history))
    }

    pub(super) fn step(&mut self, op: &Op) -> Result<(), String> {
        self.steps.push(format!("{op:?} at {}", self.now.mono));
        match op {
            Op::Publish { .. } => self.publish(op)?,
            Op::Create { .. } => self.create(op)?,
            Op::AddWorker { name: index, slots } => {
                let name = name(*index);
                match self.bus.add_worker(&name, "worker", *slots, self.now) {
                    Ok(id) => self.workers.push((id, name)),
                    Err(_) if !self.queues.contains_key(&name) => {}
                    Err(e) => return Err(format!("a worker was refused: {e}")),
                }
            }
            Op::RemoveWorker { worker, departure } => self.remove_worker(*worker, *departure),
            Op::Take { worker, count } => {
                if let Some((id, name)) = pick(&self.workers, *worker).cloned() {
                    self.take(id, &name, *count, Waker::noop())?;
                }
            }
            Op::Settle { token, settling } => self.settle(*token, settling)?,
            Op::Advance(millis) => self.advance(*millis)?,
            Op::Pause { name: index, is_paused } => {
                let is_known = self.bus.pause_consumer(&name(*index), *is_paused, self.now).is_ok();
                expect(is_known == self.queues.contains_key(&name(*index)), "whether the consumer is known")?;
            }
            Op::Seek { name: index, to } => self.seek(&name(*index), *to)?,
            Op::Dead { name: index, letter, retries } => self.dead(&name(*index), *letter, *retries)?,
            Op::Delete(index) => {
                let name = name(*index);
                let is_known = self.bus.delete_consumer(&name, self.now).is_ok();
                expect(is_known == self.queues.remove(&name).is_some(), "whether the consumer was known")?;
                self.workers.retain(|(_, of)| *of != name);
                self.end_tokens(|current| current.name == name);
                self.write(None);
            }
            Op::Write(most) => self.write(*most),
            Op::Crash(most) => {
                if most.is_some() {
                    self.write(*most);
                }
                self.crash();
            }
        }
        self.finish_step()
    }

    /// Hands over events that are on disk, and checks the books of the bus.
    fn finish_step(&mut self) -> Result<(), String> {
        for wanted in self.bus.take_wanted_events() {
            let Some(disk) = &self.disk else { return Err(format!("without a disk, {wanted:?} is wanted")) };
            let fetched = Arc::new(disk.read(wanted.seq)?);
            self.bus.hand_over_events(&wanted, Arc::downgrade(&fetched), self.now);
            self.fetched.push(fetched);
            if self.fetched.len() > 2 {
                self.fetched.remove(0);
            }
        }
        self.bus.finish().wake();
        #[cfg(debug_assertions)]
        self.bus.self_check();
        for (name, queue) in &self.queues {
            let info = self.bus.describe_consumer(name, self.now).map_err(|e| e.to_string())?;
            expect(queue.may_miss || info.missed == 0, format_args!("no missing events of {name}: {info:?}"))?;
        }
        Ok(())
    }

    fn write(&mut self, most: Option<u8>) {
        let Some(disk) = &mut self.disk else { return };
        let most = most.map_or(usize::MAX, usize::from);
        if disk.write_consumers(&mut self.bus, most) {
            disk.write_history(&mut self.bus);
            self.queues.values_mut().for_each(Queue::written);
        }
    }

    fn crash(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        let (head, written) = (self.bus.position().seq, disk.head());
        self.bus = World::bus(&self.retention, true);
        self.now.unix += 1;
        disk.restore(&mut self.bus, head, self.now);
        self.published.retain(|seq, _| *seq <= written);
        for (name, queue) in &mut self.queues {
            queue.crash(written);
            // Its state was written, and the events were not: it reports them as missing.
            queue.may_miss |= disk.knows_later(name, written);
        }
        self.workers.clear();
        self.end_tokens(|_| true);
    }
}

fn pick<T>(all: &[T], index: u16) -> Option<&T> {
    all.get(usize::from(index) % all.len().max(1))
}

fn expect(is_right: bool, what: impl fmt::Display) -> Result<(), String> {
    if is_right { Ok(()) } else { Err(format!("expected {what}")) }
}
