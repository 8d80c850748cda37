//! The deadlines of deliveries, and the end of the daemon.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep_until};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    deliveries::Deliveries,
    settle::{Verdict, after_failure},
    state::{Inner, Queue},
};
use crate::{log::NatsLog, nats::Nats};

impl Queue {
    /// Starts the queue of a node. When `stop` is cancelled, its deliveries are released.
    pub(crate) fn start(nats: &Nats, log: &NatsLog, stop: &CancellationToken, tasks: &TaskTracker) -> Queue {
        let inner = Inner {
            nats: nats.clone(),
            log: log.clone(),
            deliveries: Mutex::new(Deliveries::new()),
            added: Notify::new(),
            workers: Mutex::default(),
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        let queue = Queue(Arc::new(inner));
        tasks.spawn(watch(queue.clone()));
        queue
    }
}

/// Ends deliveries at their deadlines, and releases all when the daemon stops.
async fn watch(queue: Queue) {
    loop {
        let next = queue.0.deliveries.lock().next_deadline();
        tokio::select! {
            () = queue.0.stop.cancelled() => break,
            () = queue.0.added.notified() => continue,
            () = async { match next { Some(next) => sleep_until(next).await, None => std::future::pending().await } } => {}
        }
        let expired = queue.0.deliveries.lock().take_expired();
        let failing = queue.clone();
        tokio::spawn(async move { failing.end_all(expired, |current| after_failure(current, None)).await });
    }
    let all = queue.0.deliveries.lock().take(|_| true);
    queue.end_all(all, |_| Verdict::Again(Duration::ZERO)).await;
}
