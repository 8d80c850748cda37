//! A worker at this node, for as long as it takes deliveries.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use parking_lot::Mutex;
use sse_bus::{
    bus::consumers::{ConsumerName, Departure, Settlement},
    limits::{TAKE_MAX, WORKERS_MAX},
    protocol::{ErrorCode, Refused},
};
use tokio::sync::{
    Notify,
    mpsc::{UnboundedReceiver, unbounded_channel},
};

use super::{
    deliveries::{Delivered, QueueToken, Worker},
    pull::Pulling,
    state::Queue,
};

/// A worker. When it is dropped, it leaves.
pub(crate) struct QueueWorker {
    queue: Queue,
    worker: Arc<Worker>,
    received: Mutex<UnboundedReceiver<Result<Delivered, Refused>>>,
    pub(crate) departure: Departure,
}

impl Queue {
    /// Adds a worker of a consumer.
    ///
    /// # Errors
    ///
    /// There is no such consumer, there are too many workers, or the servers do not answer.
    pub(crate) async fn add_worker(
        &self,
        consumer: &ConsumerName,
        name: &str,
        slots: usize,
        departure: Departure,
    ) -> Result<QueueWorker, Refused> {
        let found = self.find(consumer).await?;
        let worker = Arc::new(Worker {
            number: fastrand::u64(..),
            name: name.into(),
            slots: AtomicUsize::new(slots),
            in_flight: AtomicUsize::new(0),
            has_left: AtomicBool::new(false),
            changed: Notify::new(),
        });
        {
            let mut workers = self.0.workers.lock();
            if workers.len() >= WORKERS_MAX {
                let message = format!("there are {WORKERS_MAX} workers, and no more are allowed; end some");
                return Err(Refused::new(ErrorCode::LimitWorkers, message));
            }
            workers.push((consumer.to_string(), worker.clone()));
        }
        let (sender, received) = unbounded_channel();
        self.0.tasks.spawn(Pulling::new(self.clone(), found, worker.clone(), sender).run());
        Ok(QueueWorker { queue: self.clone(), worker, received: Mutex::new(received), departure })
    }
}

impl QueueWorker {
    /// Takes at most `count` deliveries, or wakes the task when there are some.
    ///
    /// # Errors
    ///
    /// The consumer was deleted.
    pub(crate) fn poll_take(&self, count: usize, cx: &mut Context<'_>) -> Poll<Result<Vec<Delivered>, Refused>> {
        let mut all = Vec::new();
        match self.received.lock().poll_recv_many(cx, &mut all, count.clamp(1, TAKE_MAX)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(0) => Poll::Ready(Err(Refused::new(ErrorCode::Stopping, "the daemon stops"))),
            Poll::Ready(_) => Poll::Ready(all.into_iter().collect()),
        }
    }

    /// Makes the event of a delivery a dead letter.
    pub(crate) fn reject(&self, delivered: &Delivered, reason: String) {
        let (queue, token) = (self.queue.clone(), delivered.delivery.token.clone());
        self.queue.0.tasks.spawn(async move {
            if let Ok(token) = QueueToken::parse(&token) {
                // If it fails, the event is delivered again after its deadline.
                let _ = queue.settle(&token, &Settlement::Reject(reason)).await;
            }
        });
    }

    /// Changes the number of deliveries in flight.
    pub(crate) fn set_slots(&self, slots: usize) {
        self.worker.slots.store(slots, Ordering::Relaxed);
        self.worker.changed.notify_one();
    }
}

impl Drop for QueueWorker {
    fn drop(&mut self) {
        let (queue, worker, departure) = (self.queue.clone(), self.worker.clone(), self.departure);
        queue.0.workers.lock().retain(|(_, other)| other.number != worker.number);
        worker.has_left.store(true, Ordering::Relaxed);
        worker.changed.notify_one();
        // What nobody has taken.
        let mut unread = Vec::new();
        while let Ok(received) = self.received.lock().try_recv() {
            unread.extend(received.ok().map(|delivered| delivered.delivery.token));
        }
        if tokio::runtime::Handle::try_current().is_ok() {
            queue.0.tasks.clone().spawn(async move {
                queue.release(&unread).await;
                queue.leave(&worker, departure).await;
            });
        }
    }
}
