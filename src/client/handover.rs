//! What a worker's task and its caller exchange: deliveries and notices for the caller, and commands of the caller.
//!
//! It holds at most as many deliveries as the worker may have in flight, and [`HANDED`] that wait for
//! [`Worker::next`](super::Worker::next): of more, the oldest are no longer current.

use std::{collections::VecDeque, time::Duration};

use tokio::{
    select,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    backoff::Backoff,
    delivery::{Command, Commands, Delivery},
    error::Error,
};
use crate::{
    gap::{GAP, Gap},
    protocol::{Consume, EventMessage},
};

/// Maximum number of items that wait for [`Worker::next`].
const HANDED: usize = 64;

/// A delivery or a notice of a worker.
#[derive(Debug)]
#[non_exhaustive]
pub enum Work {
    /// An event to process.
    Delivery(Delivery),
    /// Events that the consumer did not receive and can no longer receive.
    Gap {
        /// The missed events and the reason.
        gap: Gap,
        /// When the daemon reported the gap, in milliseconds since 1970 (UTC).
        time: u64,
    },
    /// The connection broke, or an attempt to reconnect failed. Its deliveries are delivered again, perhaps to another worker.
    Reconnecting {
        /// The error.
        error: Error,
        /// The number of the next attempt, from 1.
        attempt: u32,
        /// The time until the next attempt.
        wait: Duration,
    },
    /// The connection is restored.
    Resumed {
        /// The client id of the new connection, such as `c12`.
        client: String,
    },
}

/// The end of the exchange that belongs to the task.
pub(super) struct Handover {
    /// For the caller. Closed once the worker is dropped.
    pub(super) items: mpsc::Sender<Result<Work, Error>>,
    /// Closed once the worker and its deliveries are dropped.
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    /// For new deliveries. Not a sender, which would keep the channel open.
    sender: mpsc::WeakUnboundedSender<Command>,
    waiting: VecDeque<Waiting>,
    /// Maximum number of deliveries among them.
    slots: usize,
    /// How the task reconnects, if it does.
    pub(super) backoff: Option<Backoff>,
    /// Something has arrived on the current connection.
    has_received: bool,
}

/// What waits until the caller has room for it.
enum Waiting {
    Delivery(EventMessage),
    Notice(Result<Work, Error>),
}

impl Waiting {
    fn is_delivery(&self) -> bool {
        matches!(self, Waiting::Delivery(_))
    }
}

impl Handover {
    pub(super) fn new(consume: &Consume) -> (Handover, mpsc::Receiver<Result<Work, Error>>, Commands) {
        let (items, received) = mpsc::channel(HANDED);
        let (sender, commands) = mpsc::unbounded_channel();
        let slots = consume.max_in_flight.map_or(1, |slots| usize::try_from(slots).unwrap_or(usize::MAX));
        let handover = Handover {
            items,
            commands,
            sender: sender.downgrade(),
            waiting: VecDeque::new(),
            slots: slots.max(1),
            backoff: None,
            has_received: false,
        };
        (handover, received, sender)
    }

    /// Waits until a time, without a connection. Returns None if the worker was dropped.
    pub(super) async fn pause(&mut self, until: Instant) -> Option<()> {
        loop {
            let has_waiting = self.has_waiting();
            select! {
                biased;
                () = self.items.closed() => return None,
                () = sleep_until(until) => return Some(()),
                () = room(&self.items), if has_waiting => self.hand_over(),
                command = self.commands.recv() => self.decline(command?),
            }
        }
    }

    /// Answers a command while there is no connection: the delivery was on an earlier one.
    fn decline(&mut self, command: Command) {
        match command {
            Command::Settle(_, Some(reply)) => drop(reply.send(Err(Error::closed()))),
            Command::Settle(_, None) => {}
            Command::Reconnect(backoff) => self.backoff = Some(backoff),
        }
    }

    /// Hands over an error, after all that waits.
    pub(super) async fn end(&mut self, error: Error) {
        self.waiting.push_back(Waiting::Notice(Err(error)));
        while self.has_waiting() && !self.items.is_closed() {
            room(&self.items).await;
            self.hand_over();
        }
    }

    /// Adds a notice. It replaces the notice of an earlier attempt that was not returned yet.
    pub(super) fn notice(&mut self, work: Work) {
        if let Some(Waiting::Notice(Ok(Work::Reconnecting { .. }))) = self.waiting.back() {
            self.waiting.pop_back();
        }
        self.waiting.push_back(Waiting::Notice(Ok(work)));
    }

    /// Adds what the daemon has sent.
    pub(super) fn receive(&mut self, message: EventMessage) {
        self.has_received = true;
        if message.delivery.is_some() {
            // They are not extended while they wait, so the oldest is the first whose deadline has passed. The worker has no
            // more than its slots of them that are current.
            // Notices wait as well, and need no slot.
            let deliveries =
                |waiting: &VecDeque<Waiting>| waiting.iter().filter(|waiting| waiting.is_delivery()).count();
            if self.waiting.len() >= self.slots
                && deliveries(&self.waiting) >= self.slots
                && let Some(oldest) = self.waiting.iter().position(Waiting::is_delivery)
            {
                self.waiting.remove(oldest);
            }
            return self.waiting.push_back(Waiting::Delivery(message));
        }
        // Only the bus publishes to `$gap`.
        if message.topic == GAP
            && let Ok(gap) = serde_json::from_str(&message.data)
        {
            self.waiting.push_back(Waiting::Notice(Ok(Work::Gap { gap, time: message.time })));
        }
    }

    /// Drops the deliveries of a connection that broke.
    pub(super) fn drop_deliveries(&mut self) {
        self.waiting.retain(|waiting| matches!(waiting, Waiting::Notice(_)));
    }

    /// Returns true if anything was received since the last call.
    pub(super) fn has_received(&mut self) -> bool {
        std::mem::take(&mut self.has_received)
    }

    /// Returns true if something waits for the caller.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes the tokens of the deliveries that were not handed over.
    pub(super) fn take_waiting(&mut self) -> Vec<String> {
        let delivery = |waiting| match waiting {
            Waiting::Delivery(event) => event.delivery,
            Waiting::Notice(_) => None,
        };
        self.waiting.drain(..).filter_map(delivery).map(|delivery| delivery.token).collect()
    }

    /// Hands over what waits, as far as the caller has room for it.
    pub(super) fn hand_over(&mut self) {
        let Some(commands) = self.sender.upgrade() else { return };
        while !self.waiting.is_empty()
            && let Ok(permit) = self.items.try_reserve()
            && let Some(waiting) = self.waiting.pop_front()
        {
            permit.send(match waiting {
                Waiting::Delivery(event) => Ok(Work::Delivery(Delivery::new(event, commands.clone()))),
                Waiting::Notice(notice) => notice,
            });
        }
    }
}

/// Waits until the caller has room for another item, or has dropped the worker.
pub(super) async fn room(items: &mpsc::Sender<Result<Work, Error>>) {
    let _ = items.reserve().await;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn notices_that_wait_take_no_slots_of_deliveries() {
        let (mut handover, _items, _commands) = Handover::new(&Consume::new("jobs").with_max_in_flight(2));
        let receive = |handover: &mut Handover, token: &str| {
            let delivery = json!({ "token": token, "attempt": 1, "deadline": 1 });
            let event = json!({ "id": "a-1", "topic": "a", "type": null, "time": 0, "data": "", "delivery": delivery });
            handover.receive(serde_json::from_value(event).unwrap());
        };
        // As after a reconnect, before the caller has asked for the next item.
        handover.notice(Work::Resumed { client: "c1".into() });
        receive(&mut handover, "1");
        receive(&mut handover, "2");
        // The first one is no longer current.
        receive(&mut handover, "3");
        assert_eq!(handover.take_waiting(), ["2", "3"]);
    }
}
