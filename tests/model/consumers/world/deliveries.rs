//! Deliveries: taking, settling and expiring them.

use std::task::Waker;

use sse_bus::{
    bus::consumers::{ConsumerName, Delivery, Departure, Settlement, Taken, WorkerId},
    protocol::ErrorCode,
};

use super::{Current, World, expect, pick};
use crate::consumers::{
    expected::{Job, Queue, Status},
    ops::Settling,
};

impl World {
    pub(super) fn take(
        &mut self,
        id: WorkerId,
        name: &ConsumerName,
        count: usize,
        waker: &Waker,
    ) -> Result<Taken, String> {
        let taken = self.bus.take(id, count, self.now, waker).map_err(|e| e.to_string())?;
        expect(taken.deliveries.len() <= count, "at most the number of deliveries that was asked for")?;
        for delivery in &taken.deliveries {
            self.delivered(id, name, delivery)?;
        }
        Ok(taken)
    }

    pub(super) fn delivered(
        &mut self,
        worker: WorkerId,
        name: &ConsumerName,
        delivery: &Delivery,
    ) -> Result<(), String> {
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

    pub(super) fn settle(&mut self, token: u16, settling: &Settling) -> Result<(), String> {
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

    pub(super) fn remove_worker(&mut self, worker: u16, departure: Departure) {
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

    /// Removes tokens that are no longer current, and returns them.
    pub(super) fn end_tokens(&mut self, has_ended: impl Fn(&Current) -> bool) -> Vec<Current> {
        let ended: Vec<_> = self.current.extract_if(.., |current| has_ended(current)).collect();
        self.stale.extend(ended.iter().map(|current| current.token));
        ended
    }

    pub(super) fn advance(&mut self, millis: u64) -> Result<(), String> {
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
}

/// Returns the attempt of a delivery that was released.
fn uncount(queue: &mut Queue, seq: u64) {
    if let Some(job) = queue.jobs.get_mut(&seq) {
        job.attempts = job.attempts.map(|attempts| attempts - 1);
    }
}
