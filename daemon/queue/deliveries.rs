//! The deliveries of this node that are current, by their tokens.
//!
//! The servers do not refuse a late acknowledgement of an earlier attempt, so the node that has delivered an event decides whether
//! a token is current. Its deadline is a little earlier than that of the servers, which is for nodes that have died.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_nats::Subject;
use sse_bus::{
    Event,
    bus::consumers::{ConsumerName, ConsumerSettings},
    protocol::{Delivery, ErrorCode, Refused},
};
use tokio::{sync::Notify, time::Instant};

/// A worker, as its deliveries and its task share it.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) number: u64,
    /// The name that dead letters show.
    pub(super) name: String,
    pub(super) slots: AtomicUsize,
    /// Deliveries in flight.
    pub(super) in_flight: AtomicUsize,
    /// It takes no more.
    pub(super) has_left: AtomicBool,
    /// Notified when one of these changes.
    pub(super) changed: Notify,
}

impl Worker {
    pub(super) fn free(&self) -> usize {
        if self.has_left.load(Ordering::Relaxed) {
            return 0;
        }
        self.slots.load(Ordering::Relaxed).saturating_sub(self.in_flight.load(Ordering::Relaxed))
    }
}

/// A delivery that is current.
pub(super) struct Current {
    pub(super) consumer: ConsumerName,
    pub(super) settings: Arc<ConsumerSettings>,
    pub(super) worker: Arc<Worker>,
    pub(super) event: Arc<Event>,
    /// The number of this attempt, from 1.
    pub(super) attempt: u32,
    pub(super) deadline: Instant,
    /// The subject of its acknowledgement.
    pub(super) reply: Subject,
}

/// A delivery for a worker.
pub(crate) struct Delivered {
    pub(crate) event: Arc<Event>,
    pub(crate) delivery: Delivery,
}

/// The token of a delivery: the run of the node and a number, the consumer, and the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueToken {
    run: u32,
    number: u64,
    pub(crate) consumer: ConsumerName,
    pub(crate) node: String,
}

impl QueueToken {
    /// Parses a token.
    ///
    /// # Errors
    ///
    /// It is none.
    pub(crate) fn parse(text: &str) -> Result<QueueToken, Refused> {
        let parse = || {
            let (rest, node) = text.rsplit_once('@')?;
            let (numbers, consumer) = rest.split_once(':')?;
            let (run, number) = numbers.split_once('-')?;
            let run = u32::from_str_radix(run, 16).ok()?;
            let number = u64::from_str_radix(number, 16).ok()?;
            Some(QueueToken { run, number, consumer: ConsumerName::parse(consumer).ok()?, node: node.into() })
        };
        // Other spellings of the numbers are no tokens.
        parse().filter(|token| token.to_string() == text).ok_or_else(|| stale(text, "is not the token of a delivery"))
    }
}

impl std::fmt::Display for QueueToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let QueueToken { run, number, consumer, node } = self;
        write!(f, "{run:x}-{number:x}:{consumer}@{node}")
    }
}

/// Returns the refusal for a delivery that is not current.
pub(crate) fn stale(token: &str, why: &str) -> Refused {
    let shown: String = token.chars().take(60).collect();
    Refused::new(ErrorCode::StaleDelivery, format!("`{shown}` {why}"))
}

/// The deliveries that are current.
pub(super) struct Deliveries {
    /// Differs between runs of the node.
    run: u32,
    last: u64,
    by_number: HashMap<u64, Current>,
    deadlines: BTreeSet<(Instant, u64)>,
}

impl Deliveries {
    pub(super) fn new() -> Deliveries {
        Deliveries { run: fastrand::u32(..), last: 0, by_number: HashMap::new(), deadlines: BTreeSet::new() }
    }

    /// Adds a delivery, and returns its token.
    pub(super) fn add(&mut self, node: &str, current: Current) -> QueueToken {
        self.last += 1;
        let token =
            QueueToken { run: self.run, number: self.last, consumer: current.consumer.clone(), node: node.into() };
        current.worker.in_flight.fetch_add(1, Ordering::Relaxed);
        self.insert(self.last, current);
        token
    }

    /// Puts a delivery back that could not be settled.
    pub(super) fn put_back(&mut self, token: &QueueToken, current: Current) {
        current.worker.in_flight.fetch_add(1, Ordering::Relaxed);
        self.insert(token.number, current);
    }

    fn insert(&mut self, number: u64, current: Current) {
        self.deadlines.insert((current.deadline, number));
        self.by_number.insert(number, current);
    }

    /// Removes a delivery, which the caller then settles.
    ///
    /// # Errors
    ///
    /// It is not current.
    pub(super) fn claim(&mut self, token: &QueueToken) -> Result<Current, Refused> {
        let current = self.by_number.get(&token.number).filter(|_| token.run == self.run);
        let is_current =
            current.is_some_and(|current| current.consumer == token.consumer && current.deadline > Instant::now());
        is_current.then(|| self.remove(token.number)).flatten().ok_or_else(|| {
            let why =
                "is no longer current: it was settled, its deadline has passed, or its consumer was moved or deleted";
            stale(&token.to_string(), why)
        })
    }

    /// Gives a delivery more time.
    ///
    /// # Errors
    ///
    /// It is not current.
    pub(super) fn extend(&mut self, token: &QueueToken) -> Result<Subject, Refused> {
        let mut current = self.claim(token)?;
        current.deadline = Instant::now() + current.settings.ack_wait;
        let reply = current.reply.clone();
        self.put_back(token, current);
        Ok(reply)
    }

    fn remove(&mut self, number: u64) -> Option<Current> {
        let current = self.by_number.remove(&number)?;
        self.deadlines.remove(&(current.deadline, number));
        current.worker.in_flight.fetch_sub(1, Ordering::Relaxed);
        current.worker.changed.notify_one();
        Some(current)
    }

    /// Returns the first deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Removes the deliveries whose deadlines have passed.
    pub(super) fn take_expired(&mut self) -> Vec<Current> {
        let now = Instant::now();
        let mut expired = Vec::new();
        while let Some(&(deadline, number)) = self.deadlines.first()
            && deadline <= now
        {
            expired.extend(self.remove(number));
        }
        expired
    }

    /// Removes the deliveries for which `is_taken` is true.
    pub(super) fn take(&mut self, is_taken: impl Fn(&Current) -> bool) -> Vec<Current> {
        let numbers: Vec<_> =
            self.by_number.iter().filter(|(_, current)| is_taken(current)).map(|(number, _)| *number).collect();
        numbers.into_iter().filter_map(|number| self.remove(number)).collect()
    }
}

impl Current {
    pub(super) fn new(
        (consumer, settings): (&ConsumerName, &Arc<ConsumerSettings>),
        worker: &Arc<Worker>,
        event: Arc<Event>,
        attempt: u32,
        reply: Subject,
    ) -> Current {
        Current {
            consumer: consumer.clone(),
            settings: settings.clone(),
            worker: worker.clone(),
            event,
            attempt,
            deadline: Instant::now() + settings.ack_wait,
            reply,
        }
    }
}
