//! A connection as a worker: deliveries out, and requests to settle them in.
//!
//! Requests to settle deliveries that arrive together are applied as one batch. A worker that closes its sending half has
//! finished: once its requests are answered, its other deliveries are released and the connection is closed. When the connection
//! is closed in another way, the deliveries of the worker fail, unless the daemon stops.

use std::{future::poll_fn, io, task::Poll};

use sse_bus::{
    limits::READ_MAX,
    protocol::{Consume, Refused, Reply},
};

use super::{Input, Session};
use crate::{
    api::{self, Work},
    client_guard::ClientGuard,
};

impl Session<'_> {
    /// Makes the connection a worker, or changes the number of its deliveries in flight.
    pub(super) async fn consume(&mut self, consume: &Consume) -> Result<Reply, Refused> {
        if let Some(worker) = &self.worker {
            return worker.resize(consume).map(Reply::Consuming);
        }
        self.refuse_subscriber()?;
        let transport = self.codec.format().transport();
        let (worker, consuming) = api::consume(self.daemon, &self.caller, consume, transport).await?;
        // A connection that was a publisher continues as this worker.
        (self.client, self.worker) = (None, Some(worker));
        Ok(Reply::Consuming(consuming))
    }

    /// Applies the requests to settle deliveries and appends the replies.
    pub(super) async fn settle_batch(&mut self) {
        if self.settling.is_empty() {
            return;
        }
        let (numbers, batch): (Vec<_>, Vec<_>) = self.settling.drain(..).unzip();
        let results = api::settle(self.daemon, &self.caller, self.worker.as_ref(), &batch).await;
        for (number, result) in numbers.into_iter().zip(results) {
            let reply = match result {
                Ok(deliveries) => Reply::Settled { deliveries },
                Err(refused) => self.refusal(number, refused),
            };
            self.codec.reply(&reply, self.held.buffer(&mut self.out));
        }
    }

    /// Appends the work for the slots that requests have freed, so that it is sent together with their replies.
    pub(super) async fn refill(&mut self) -> io::Result<()> {
        let is_ending = self.closing || self.at_end() || self.daemon.stop.is_cancelled() || self.held.is_publishing();
        let Some(worker) = self.worker.as_ref().filter(|_| !is_ending) else { return Ok(()) };
        match poll_fn(|cx| Poll::Ready(worker.poll_next(usize::MAX, cx))).await {
            Poll::Ready(work) => self.send_work(work).await,
            Poll::Pending => Ok(()),
        }
    }

    /// Sends what a worker has taken. The connection ends if the worker was removed.
    pub(super) async fn send_work(&mut self, work: Result<Vec<Work>, Refused>) -> io::Result<()> {
        match work {
            Ok(work) => {
                for work in work {
                    work.encode(self.codec.format(), &mut self.out);
                    if self.out.len() >= READ_MAX {
                        self.send().await?;
                    }
                }
            }
            Err(removed) => {
                // A client that was kicked learns nothing more, as a subscriber.
                if !self.client().is_some_and(ClientGuard::is_removed) {
                    self.codec.reply(&self.refusal(0, removed), &mut self.out);
                }
                self.closing = true;
            }
        }
        Ok(())
    }

    /// Removes the worker of a connection that ends.
    pub(super) fn end_worker(&mut self) {
        if let Some(worker) = self.worker.take_if(|_| self.input == Input::HalfClosed) {
            worker.release();
        }
    }
}
