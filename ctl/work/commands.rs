//! `work --exec`: runs a command for each event.
//!
//! Commands continue while the daemon cannot be reached. The outcome of a command settles the newest delivery of its event: an
//! event that is delivered again while its command runs is not processed twice.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use sse_bus::{
    client::{self, Address, Delivery, Work, Worker},
    limits::IN_FLIGHT_MAX,
    protocol::{ErrorCode, EventMessage},
};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, interval, sleep, sleep_until, timeout},
};

use super::{
    connection::{Outage, connect, stopped},
    held::{Held, Key, key},
    job::{Outcome, Setup},
    screen::Screen,
    settled::Unconfirmed,
    tally::{TICK, Tally, watch_pending},
};
use crate::{
    cli,
    exit::Failure,
    format::warn_of_gap,
    output::Output,
    signals::{self, Signals},
    units::count,
};

/// How long a batch waits for more events after its first event.
const GATHER: Duration = Duration::from_millis(20);

pub(super) async fn run(
    address: &Address,
    output: &Output,
    options: cli::Work,
    command: String,
) -> Result<(), Failure> {
    let mut signals = Signals::watch_two();
    let batch = options.batch.unwrap_or(1);
    let slots = options.jobs.saturating_mul(batch).min(IN_FLIGHT_MAX as u64);
    let (worker, ack_wait) = connect(address, &options, slots).await?;
    let screen = Arc::new(Screen::new(output.is_quiet));
    output.notice(|| format!("working for {}", options.name));
    let setup = Setup {
        command,
        consumer: options.name.clone(),
        is_batch: options.batch.is_some(),
        timeout: options.timeout,
        screen: screen.clone(),
    };
    let mut run = Run {
        worker: Some(worker),
        finishing: None,
        held: Held::new(ack_wait),
        waiting: VecDeque::new(),
        gathered: Instant::now(),
        running: JoinSet::new(),
        settling: JoinSet::new(),
        unconfirmed: Unconfirmed::default(),
        started: 0,
        tally: Tally::new(),
        end: watch::channel(false).0,
        setup: Arc::new(setup),
        batch: usize::try_from(batch).unwrap_or(usize::MAX),
        options,
        outage: Outage::default(),
    };
    let result = run.serve(address, &mut signals).await;
    screen.progress(String::new());
    let is_stopped = matches!(result, Ok(End::Signal));
    output.warn(&run.tally.summary());
    let Run { held, finishing, tally, options, .. } = run;
    // Releases the deliveries that are not settled.
    drop(held);
    if let Some(finishing) = finishing {
        let patience = if is_stopped { signals::PATIENCE } else { sse_bus::limits::REPLY };
        let _ = timeout(patience, finishing).await;
    }
    match result? {
        End::Signal => stopped(options.count, tally.answered()),
        End::Count => Ok(()),
    }
}

/// Why the worker ends.
enum End {
    Count,
    Signal,
}

/// The state of the worker.
struct Run {
    /// Present while the program takes deliveries.
    worker: Option<Worker>,
    /// Ends once all deliveries are settled.
    finishing: Option<JoinHandle<()>>,
    held: Held,
    /// The deliveries whose commands have not started.
    waiting: VecDeque<Key>,
    /// When the command of a batch starts even if the batch is not full.
    gathered: Instant,
    running: JoinSet<(Vec<Key>, Outcome)>,
    /// Settlements that were sent, and for which the daemon has not replied yet.
    settling: JoinSet<(Key, u32, Outcome, Result<(), client::Error>)>,
    unconfirmed: Unconfirmed,
    /// Number of deliveries whose commands have started.
    started: u64,
    tally: Tally,
    /// Set to end all commands.
    end: watch::Sender<bool>,
    setup: Arc<Setup>,
    batch: usize,
    options: cli::Work,
    outage: Outage,
}

impl Run {
    /// Works until the requested number of deliveries is processed, a signal arrives, or an error occurs.
    async fn serve(&mut self, address: &Address, signals: &mut Signals) -> Result<End, Failure> {
        let screen = self.setup.screen.clone();
        let pending = screen.has_progress().then(|| watch_pending(address, &self.options.name));
        let mut second = signals.clone();
        let mut ticks = interval(TICK);
        let mut end: Option<Result<End, Failure>> = None;
        let grace = sleep(Duration::MAX);
        tokio::pin!(grace);
        loop {
            self.start_commands();
            if self.options.count.is_some_and(|count| self.started >= count) && end.is_none() {
                self.stop_taking();
                end = Some(Ok(End::Count));
            }
            if self.running.is_empty()
                && self.settling.is_empty()
                && let Some(end) = end.take()
            {
                return end;
            }
            let is_gathering = self.can_start() && !self.waiting.is_empty();
            tokio::select! {
                biased;
                () = second.second() => {
                    self.running.shutdown().await;
                    return Ok(End::Signal);
                }
                () = signals.stop(), if !matches!(end, Some(Ok(End::Signal))) => {
                    self.stop_taking();
                    let running = self.held.len() as u64;
                    if running > 0 {
                        let grace = sse_bus::time::format_duration(self.options.grace);
                        screen.notice(&format!("stopping; waiting up to {grace} for {}", count(running, "event")));
                    }
                    end = Some(Ok(End::Signal));
                    grace.set(sleep(self.options.grace));
                }
                () = &mut grace, if matches!(end, Some(Ok(End::Signal))) && !*self.end.borrow() => {
                    let _ = self.end.send(true);
                }
                Some(ended) = self.running.join_next() => {
                    // A task that runs a command is never aborted and does not panic.
                    if let Ok((keys, outcome)) = ended {
                        self.settle(keys, &outcome);
                    }
                }
                Some(settled) = self.settling.join_next() => {
                    if let Ok((key, attempt, outcome, result)) = settled {
                        self.settled(key, attempt, outcome, result);
                    }
                }
                () = self.held.due() => self.held.extend(),
                item = next(&mut self.worker) => match item {
                    Some(Ok(work)) => self.receive(work),
                    Some(Err(error)) => {
                        self.stop_taking();
                        end = Some(Err(error.into()));
                    }
                    None => self.worker = None,
                },
                () = sleep_until(self.gathered), if is_gathering => {}
                _ = ticks.tick(), if pending.is_some() => {
                    let pending = pending.as_ref().and_then(|pending| *pending.borrow());
                    screen.progress(self.tally.progress(self.held.len(), pending));
                }
            }
        }
    }

    fn can_start(&self) -> bool {
        (self.running.len() as u64) < self.options.jobs
    }

    /// Starts commands for waiting deliveries, up to the maximum number of concurrent commands.
    fn start_commands(&mut self) {
        while self.can_start() && !self.waiting.is_empty() {
            let is_full = self.waiting.len() >= self.batch;
            if !is_full && Instant::now() < self.gathered {
                return;
            }
            let left = self.options.count.map_or(u64::MAX, |count| count.saturating_sub(self.started));
            let most = self.batch.min(usize::try_from(left).unwrap_or(usize::MAX)).min(self.waiting.len());
            if most == 0 {
                return;
            }
            let keys: Vec<Key> = self.waiting.drain(..most).collect();
            self.gathered = Instant::now() + GATHER;
            self.started += keys.len() as u64;
            let events: Vec<EventMessage> =
                keys.iter().filter_map(|key| self.held.get(key)).map(|delivery| (**delivery).clone()).collect();
            let (setup, end) = (self.setup.clone(), self.end.subscribe());
            self.running.spawn(async move { (keys, setup.run(events, end).await) });
        }
    }

    /// Stops taking deliveries, and releases those whose commands have not started.
    fn stop_taking(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.finishing = Some(tokio::spawn(worker.finish()));
        }
        for key in mem::take(&mut self.waiting) {
            drop(self.held.remove(&key));
        }
    }

    fn receive(&mut self, work: Work) {
        let screen = &self.setup.screen;
        match work {
            Work::Delivery(delivery) => self.take(delivery),
            Work::Gap { gap, .. } => warn_of_gap(&gap),
            Work::Reconnecting { error, .. } => {
                if let Some(notice) = self.outage.begin(&error) {
                    screen.notice(&notice);
                }
            }
            Work::Resumed { .. } => screen.notice(self.outage.end()),
            // Later versions of the library may add kinds of work.
            _ => {}
        }
    }

    fn take(&mut self, delivery: Delivery) {
        let key = key(&delivery);
        if let Some(outcome) = self.unconfirmed.take(&key, delivery.attempt()) {
            self.setup.screen.notice(&format!("event {key}: was processed before, and is not processed again"));
            return self.answer(key, delivery, outcome);
        }
        if self.waiting.is_empty() {
            self.gathered = Instant::now() + GATHER;
        }
        // If the event is held already, its command is running or waiting.
        if self.held.insert(key.clone(), delivery) {
            self.waiting.push_back(key);
        }
    }

    /// Settles the deliveries of a command that has ended.
    fn settle(&mut self, keys: Vec<Key>, outcome: &Outcome) {
        let what = match &*keys {
            [key] => format!("event {key}"),
            keys => count(keys.len() as u64, "event"),
        };
        let command = &self.setup.command;
        match outcome {
            Outcome::Done | Outcome::Ended => {}
            Outcome::Failed(why) => self.setup.screen.report(&format!("{what}: `{command}` {why}")),
            Outcome::Rejected(why) => self.setup.screen.report(&format!("{what}: `{command}` rejected it: {why}")),
        }
        for key in keys {
            self.tally.add(outcome);
            if let Some(delivery) = self.held.remove(&key) {
                self.answer(key, delivery, outcome.clone());
            }
        }
    }

    fn answer(&mut self, key: Key, delivery: Delivery, outcome: Outcome) {
        let attempt = delivery.attempt();
        let settling = match &outcome {
            Outcome::Done => delivery.ack(),
            Outcome::Failed(_) => delivery.nak(None),
            Outcome::Rejected(reason) => delivery.reject(reason),
            Outcome::Ended => delivery.release(),
        };
        self.settling.spawn(async move { (key, attempt, outcome, settling.await) });
    }

    fn settled(&mut self, key: Key, attempt: u32, outcome: Outcome, result: Result<(), client::Error>) {
        let Err(error) = result else { return };
        let screen = &self.setup.screen;
        let is_stale = error.code() == Some(ErrorCode::StaleDelivery);
        let what = match outcome {
            Outcome::Done => "it is done",
            Outcome::Failed(_) => "the attempt has failed",
            Outcome::Rejected(_) => "it is rejected",
            Outcome::Ended => return,
        };
        if is_stale {
            let why = "its delivery is no longer current, and it may be processed again";
            screen.report(&format!("event {key}: {what}, but {why}"));
        } else {
            screen.report(&format!("event {key}: {what}, but the daemon has not confirmed it: {error}"));
        }
        // The outcome is for the attempt that follows a stale delivery. The same attempt again means that the consumer was moved
        // to an earlier position, so the event has to be processed again.
        self.unconfirmed.insert(key, outcome, attempt + u32::from(is_stale));
    }
}

/// Returns the next item of a worker, if there is one.
async fn next(worker: &mut Option<Worker>) -> Option<Result<Work, client::Error>> {
    match worker {
        Some(worker) => worker.next().await,
        None => std::future::pending().await,
    }
}
