//! The end of a scenario: what must have become of every event.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

use sse_bus::{
    FilterSet,
    bus::{
        Bus, Format, Read, Start, Subscription,
        consumers::{Departure, Next, Settlement},
    },
};

use super::{EPOCH, World, expect};
use crate::consumers::expected::Status;

/// Counts how often a worker is woken.
#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl World {
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
            expect(alone == beside, format_args!("from {start:?} the same beside consumers:\n{alone}\n{beside}"))?;
        }
        Ok(())
    }

    /// Works until nothing is left: only a worker that is woken takes.
    pub(in crate::consumers) fn end(&mut self) -> Result<(), String> {
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
                expect(is_settled || queue.may_miss, format_args!("{seq} of {name} is lost or stuck: {job:?}"))?;
                left += u64::from(!is_settled);
            }
            let info = self.bus.describe_consumer(&name, self.now).map_err(|e| e.to_string())?;
            expect(left <= info.missed, format_args!("{left} of {name} are reported as missed: {info:?}"))?;
            self.bus.remove_worker(worker, Departure::Released, self.now);
        }
        Ok(())
    }
}
