//! The bus, the expected queues, and the steps of a scenario.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

use sse_bus::{
    Epoch, EventId, FilterSet, Headers, Topic,
    bus::{
        Bus, Format, Now, Publication, Read, Start, Subscription,
        consumers::{
            ConsumerName, ConsumerSettings, Delivery, Departure, Next, OnFull, SeekTo, Settlement, Taken, Token,
            WorkerId,
        },
        fetch::Fetched,
        history::Memory,
    },
    limits::Limits,
    protocol::ErrorCode,
    retention::Retention,
};

use super::{
    disk::Disk,
    expected::{Job, Queue, Status},
};

const TOPICS: [&str; 3] = ["a", "a/b", "c"];
/// Filters, each with the topics that they match.
const FILTERS: [(&[&str], &[usize]); 3] = [(&["a"], &[0]), (&["a/**"], &[0, 1]), (&["**"], &[0, 1, 2])];
const EPOCH: &str = "e";

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

/// A delivery, as long as its token is current.
#[derive(Clone, Debug)]
struct Current {
    token: Token,
    name: ConsumerName,
    seq: u64,
    deadline: u64,
    worker: WorkerId,
}

#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
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
            expect(queue.may_miss || info.counts.missed == 0, &format!("no missing events of {name}: {info:?}"))?;
        }
        Ok(())
    }

    fn publish(&mut self, op: &Op) -> Result<(), String> {
        let Op::Publish { topic, key, ttl, size, retain } = *op else { return Ok(()) };
        let mut publication = Publication::new(Topic::parse(TOPICS[topic]).expect("legal"), "x".repeat(size));
        publication.ttl = ttl.map(Duration::from_millis);
        publication.retain = retain;
        if let Some(key) = key {
            publication.headers = Headers::parse([("key", key.to_string())]).expect("legal");
        }
        if let Some(twin) = &mut self.twin {
            twin.publish(publication.clone(), None, self.now).map_err(|e| format!("without consumers: {e}"))?;
            twin.finish().wake();
        }
        let seq = match self.bus.publish(publication, None, self.now) {
            Ok(published) => published.id.expect("a broadcast has an id").seq,
            Err(e) => {
                let is_holder = |(name, queue): (&ConsumerName, &Queue)| {
                    queue.topics.contains(&topic)
                        && queue.settings.on_full == OnFull::Refuse
                        && e.message.contains(&format!("`{name}`"))
                };
                let is_full = e.code == ErrorCode::LimitHistory && self.queues.iter().any(is_holder);
                return expect(is_full, &format!("a refusal that names a consumer of the topic, not {e}"));
            }
        };
        let expires = ttl.map(|ttl| self.now.mono + ttl);
        self.published.insert(seq, Published { topic, key, expires });
        for queue in self.queues.values_mut().filter(|queue| queue.topics.contains(&topic)) {
            queue.jobs.insert(
                seq,
                Job { key, expires, status: Status::Open, attempts: Some(0), was_delivered: false, is_touched: false },
            );
        }
        Ok(())
    }

    fn create(&mut self, op: &Op) -> Result<(), String> {
        let Op::Create { name: index, filter, max_in_flight, max_attempts, on_full, is_short, all } = op else {
            return Ok(());
        };
        let (name, (filters, topics)) = (name(*index), FILTERS[*filter]);
        let settings = ConsumerSettings {
            ack_wait: Duration::from_millis(20),
            max_attempts: *max_attempts,
            backoff: vec![Duration::from_millis(5), Duration::from_millis(15)],
            max_in_flight: *max_in_flight,
            on_full: *on_full,
            inactive_after: Duration::from_millis(if *is_short { 30 } else { 1_000_000 }),
            ..ConsumerSettings::new(FilterSet::parse(filters).expect("legal"))
        };
        let from = if *all { SeekTo::All } else { SeekTo::Now };
        let created = self.bus.create_consumer(&name, settings.clone(), from, self.now);
        if let Some(known) = self.queues.get(&name) {
            let expected = if known.settings == settings { Ok(false) } else { Err(ErrorCode::ConsumerExists) };
            return expect(created.map_err(|e| e.code) == expected, &format!("{expected:?} for a second creation"));
        }
        expect(created == Ok(true), &format!("the creation of {name}"))?;
        let may_miss = *on_full == OnFull::Drop || *is_short;
        let mut queue = Queue { settings, topics, may_miss, jobs: BTreeMap::new(), last_first: 0, has_retried: false };
        let before = self.published.iter().filter(|(_, published)| *all && topics.contains(&published.topic));
        queue.jobs.extend(before.map(|(seq, published)| {
            let (key, expires) = (published.key, published.expires);
            (
                *seq,
                Job {
                    key,
                    expires,
                    status: Status::Either,
                    attempts: Some(0),
                    was_delivered: false,
                    is_touched: false,
                },
            )
        }));
        self.queues.insert(name, queue);
        self.write(None);
        Ok(())
    }

    fn remove_worker(&mut self, worker: u16, departure: Departure) {
        let Some((id, name)) = pick(&self.workers, worker).cloned() else { return };
        self.bus.remove_worker(id, departure, self.now);
        self.workers.retain(|(other, _)| *other != id);
        if departure == Departure::Detached {
            return;
        }
        for current in self.end_tokens(|current| current.worker == id) {
            let Some(queue) = self.queues.get_mut(&name) else { continue };
            match departure {
                Departure::Lost => queue.fail(current.seq),
                _ => uncount(queue, current.seq),
            }
        }
    }

    fn take(&mut self, id: WorkerId, name: &ConsumerName, count: usize, waker: &Waker) -> Result<Taken, String> {
        let taken = self.bus.take(id, count, self.now, waker).map_err(|e| e.to_string())?;
        expect(taken.deliveries.len() <= count, "at most the number of deliveries that was asked for")?;
        for delivery in &taken.deliveries {
            self.delivered(id, name, delivery)?;
        }
        Ok(taken)
    }

    fn delivered(&mut self, worker: WorkerId, name: &ConsumerName, delivery: &Delivery) -> Result<(), String> {
        let (seq, now) = (delivery.event.id.seq, self.now.mono);
        self.steps.push(format!("  delivered {seq} of {name}, attempt {}", delivery.attempt));
        let queue = self.queues.get_mut(name).ok_or("a delivery of an unknown consumer")?;
        let Some(job) = queue.jobs.get(&seq).cloned() else {
            return Err(format!("a delivery of {seq}, which is no event of {name}"));
        };
        let wrong = |what: &str| Err(format!("{seq} of {name}: {what}; {job:?}"));
        if !matches!(job.status, Status::Open | Status::Either) {
            return wrong("it is done or dead");
        }
        if job.expires.is_some_and(|end| end <= now) {
            return wrong("it has expired");
        }
        if job.attempts.is_some_and(|attempts| attempts + 1 != delivery.attempt) {
            return wrong("the number of the attempt");
        }
        if delivery.attempt > queue.settings.max_attempts {
            return wrong("more attempts than allowed");
        }
        let of_queue = || self.current.iter().filter(|current| current.name == *name);
        if of_queue().any(|current| current.seq == seq) {
            return wrong("another worker has it");
        }
        if of_queue().count() >= queue.settings.max_in_flight {
            return wrong("more deliveries than `max_in_flight`");
        }
        if job.key.is_some() && of_queue().any(|current| queue.jobs[&current.seq].key == job.key) {
            return wrong("another event of its key is in flight");
        }
        let is_strict = !queue.may_miss && !queue.has_retried;
        let waits = |(_, other): &(&u64, &Job)| {
            other.status == Status::Open
                && (job.key.is_some() && other.key == job.key || queue.settings.max_in_flight == 1)
        };
        let lives = |(_, other): &(&u64, &Job)| other.expires.is_none_or(|end| end > now);
        if let Some((earlier, _)) = queue.jobs.range(..seq).filter(lives).find(waits).filter(|_| is_strict) {
            return wrong(&format!("the event {earlier} is before it"));
        }
        if !job.was_delivered && job.key.is_none() {
            if seq < queue.last_first {
                return wrong(&format!("its first delivery is after that of {}", queue.last_first));
            }
            queue.last_first = seq;
        }
        if let Some(job) = queue.jobs.get_mut(&seq) {
            (job.status, job.attempts, job.was_delivered) = (Status::Open, Some(delivery.attempt), true);
        }
        let Delivery { token, deadline, .. } = *delivery;
        self.current.push(Current { token, name: name.clone(), seq, deadline, worker });
        Ok(())
    }

    fn settle(&mut self, token: u16, settling: &Settling) -> Result<(), String> {
        if let Some(stale) = pick(&self.stale, token).filter(|_| token.is_multiple_of(5)) {
            let refused = self.bus.settle(*stale, Settlement::Ack, self.now).map_err(|e| e.code);
            return expect(refused == Err(ErrorCode::StaleDelivery), "the refusal of a stale token");
        }
        let Some(current) = pick(&self.current, token).cloned() else { return Ok(()) };
        let (queue, seq) = (self.queues.get_mut(&current.name).ok_or("an unknown consumer")?, current.seq);
        let settlement = match settling {
            Settling::Ack => Settlement::Ack,
            Settling::Nak(delay) => Settlement::Nak(*delay),
            Settling::Extend => Settlement::Extend,
            Settling::Reject => Settlement::Reject("no".into()),
            Settling::Release => Settlement::Release,
        };
        let deadline = self.bus.settle(current.token, settlement, self.now).map_err(|e| format!("{current:?}: {e}"))?;
        match settling {
            Settling::Ack => queue.set(seq, Status::Done),
            Settling::Nak(_) => queue.fail(seq),
            Settling::Reject => queue.set(seq, Status::Dead),
            Settling::Release => uncount(queue, seq),
            Settling::Extend => {
                let deadline = deadline.ok_or("expected a new deadline")?;
                let extended = self.current.iter_mut().find(|other| other.token == current.token);
                extended.ok_or("an unknown token")?.deadline = deadline;
                return Ok(());
            }
        }
        self.end_tokens(|other| other.token == current.token);
        Ok(())
    }

    /// Removes tokens that are no longer current, and returns them.
    fn end_tokens(&mut self, has_ended: impl Fn(&Current) -> bool) -> Vec<Current> {
        let ended: Vec<_> = self.current.extract_if(.., |current| has_ended(current)).collect();
        self.stale.extend(ended.iter().map(|current| current.token));
        ended
    }

    fn advance(&mut self, millis: u64) -> Result<(), String> {
        (self.now.mono, self.now.unix) = (self.now.mono + millis, self.now.unix + millis);
        let now = self.now.mono;
        for current in self.end_tokens(|current| current.deadline <= now) {
            if self.queues.is_empty() {
                continue;
            }
            // Before the tick, too, the token is not current.
            let refused = self.bus.settle(current.token, Settlement::Ack, self.now).map_err(|e| e.code);
            expect(refused == Err(ErrorCode::StaleDelivery), "the refusal of a token whose deadline has passed")?;
            if let Some(queue) = self.queues.get_mut(&current.name) {
                queue.fail(current.seq);
            }
        }
        for _ in 0..1000 {
            self.bus.tick(self.now);
            if let Some(twin) = &mut self.twin {
                twin.tick(self.now);
            }
            if self.bus.next_timeout().is_none_or(|next| next > now) {
                return Ok(());
            }
        }
        Err(format!("expected the timers to end, next is {:?}", self.bus.next_timeout()))
    }

    fn seek(&mut self, name: &ConsumerName, to: Option<u16>) -> Result<(), String> {
        let position = to.map_or(0, |to| u64::from(to) % (self.bus.position().seq + 1));
        let epoch = Epoch::parse(EPOCH).expect("legal");
        let target = if to.is_some() { SeekTo::After(EventId { epoch, seq: position }) } else { SeekTo::All };
        let is_known = self.bus.seek_consumer(name, target, self.now).is_ok();
        expect(is_known == self.queues.contains_key(name), "whether the consumer is known")?;
        if let Some(queue) = self.queues.get_mut(name) {
            queue.seek(position);
            for (seq, Published { topic, key, expires }) in self.published.range(position + 1..) {
                if queue.topics.contains(topic) {
                    queue.jobs.entry(*seq).or_insert(Job {
                        key: *key,
                        expires: *expires,
                        status: Status::Either,
                        attempts: Some(0),
                        was_delivered: false,
                        is_touched: false,
                    });
                }
            }
        }
        self.end_tokens(|current| current.name == *name);
        self.write(None);
        Ok(())
    }

    fn dead(&mut self, name: &ConsumerName, letter: u16, retries: bool) -> Result<(), String> {
        self.check_dead(name)?;
        let Ok(letters) = self.bus.dead_letters(name, 0) else { return Ok(()) };
        let Some(letter) = pick(&letters, letter) else { return Ok(()) };
        let (seq, queue) = (letter.id.seq, self.queues.get_mut(name).ok_or("an unknown consumer")?);
        if retries {
            self.bus.retry_dead(name, seq, self.now).map_err(|e| e.to_string())?;
            queue.set(seq, Status::Open);
            queue.has_retried = true;
            if let Some(job) = queue.jobs.get_mut(&seq) {
                job.attempts = Some(0);
            }
        } else {
            self.bus.drop_dead(name, seq, self.now).map_err(|e| e.to_string())?;
            queue.set(seq, Status::Done);
        }
        Ok(())
    }

    /// The dead letters are those that are expected.
    fn check_dead(&self, name: &ConsumerName) -> Result<(), String> {
        let Some(queue) = self.queues.get(name) else { return Ok(()) };
        let letters = self.bus.dead_letters(name, 0).map_err(|e| e.to_string())?;
        let listed: Vec<u64> = letters.iter().map(|letter| letter.id.seq).collect();
        for (seq, job) in &queue.jobs {
            let may_differ = job.status == Status::Either || job.expires.is_some_and(|end| end <= self.now.mono);
            let is_listed = listed.contains(seq);
            let is_missing = !is_listed && queue.may_miss;
            let is_right = may_differ || is_missing || is_listed == (job.status == Status::Dead);
            expect(is_right, &format!("the dead letter {seq} of {name}, listed {is_listed}: {job:?}"))?;
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

    /// A subscriber reads the same with and without consumers.
    fn compare_histories(&mut self) -> Result<(), String> {
        let now = self.now;
        let Some(twin) = &mut self.twin else { return Ok(()) };
        for start in [Start::All, Start::Retained, Start::Latest, Start::After(format!("{EPOCH}-1"))] {
            let read = |bus: &mut Bus| {
                let mut subscription = Subscription::new(FilterSet::parse(&["**"]).expect("legal"), Format::Json);
                (subscription.start, subscription.past_only) = (start.clone(), true);
                let (id, _) = bus.subscribe(subscription, now).expect("taken");
                let mut out = Vec::new();
                while bus.read(id, now, Waker::noop(), &mut out) != Read::Ended {}
                String::from_utf8(out.concat()).expect("text")
            };
            let (alone, beside) = (read(twin), read(&mut self.bus));
            expect(alone == beside, &format!("from {start:?} the same beside consumers:\n{alone}\n{beside}"))?;
        }
        Ok(())
    }

    /// Works until nothing is left: only a worker that is woken takes.
    pub(super) fn end(&mut self) -> Result<(), String> {
        self.compare_histories()?;
        while !self.workers.is_empty() {
            self.remove_worker(0, Departure::Released);
        }
        let names: Vec<_> = self.queues.keys().cloned().collect();
        for name in names {
            self.steps.push(format!("drain {name}"));
            self.bus.pause_consumer(&name, false, self.now).map_err(|e| e.to_string())?;
            let calls = Arc::new(Calls::default());
            let worker = self.bus.add_worker(&name, "last", 2, self.now).map_err(|e| e.to_string())?;
            let (mut seen, mut is_ready) = (0, true);
            for _ in 0..400 {
                let called = calls.0.load(Ordering::Relaxed);
                if is_ready || called > seen {
                    seen = called;
                    let taken = self.take(worker, &name, 2, &Waker::from(calls.clone()))?;
                    is_ready = taken.next == Next::Ready;
                    for delivery in taken.deliveries {
                        let acknowledged = self.bus.settle(delivery.token, Settlement::Ack, self.now);
                        acknowledged.map_err(|e| e.to_string())?;
                        self.end_tokens(|current| current.token == delivery.token);
                        if let Some(queue) = self.queues.get_mut(&name) {
                            queue.set(delivery.event.id.seq, Status::Done);
                        }
                    }
                } else {
                    self.advance(7)?;
                }
                self.finish_step()?;
            }
            self.check_dead(&name)?;
            let (queue, now, mut left) = (&self.queues[&name], self.now.mono, 0);
            for (seq, job) in &queue.jobs {
                let is_settled = job.status != Status::Open || job.expires.is_some_and(|end| end <= now);
                expect(is_settled || queue.may_miss, &format!("{seq} of {name} is lost or stuck: {job:?}"))?;
                left += u64::from(!is_settled);
            }
            let info = self.bus.describe_consumer(&name, self.now).map_err(|e| e.to_string())?;
            expect(left <= info.counts.missed, &format!("{left} of {name} are reported as missed: {info:?}"))?;
            self.bus.remove_worker(worker, Departure::Released, self.now);
        }
        Ok(())
    }
}

/// Returns the attempt of a delivery that was released.
fn uncount(queue: &mut Queue, seq: u64) {
    if let Some(job) = queue.jobs.get_mut(&seq) {
        job.attempts = job.attempts.map(|attempts| attempts - 1);
    }
}

fn pick<T>(all: &[T], index: u16) -> Option<&T> {
    all.get(usize::from(index) % all.len().max(1))
}

fn expect(is_right: bool, what: &str) -> Result<(), String> {
    if is_right { Ok(()) } else { Err(format!("expected {what}")) }
}
