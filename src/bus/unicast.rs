//! Unicast: events for one client, or for all clients with one name. They are live-only.
//!
//! An event is encoded once for each format, and shared by the clients that take it. The events that wait for one client are
//! bounded by [`Limits::unicast_buffer`](crate::limits::Limits::unicast_buffer), those that wait for all clients by
//! [`UNICAST_BUFFERS`](crate::limits::UNICAST_BUFFERS). A client at its limit does not take another event; at the limit for
//! all clients, no client does.
//!
//! Many clients of one name take an event in steps. Each client receives it in the order in which it took it: after
//! everything that was published before its step. So it is ordered among the events of its own publisher, which continues
//! once all steps are done. Clients of one name may receive it before or after an event that another publisher publishes at
//! the same time.

use std::sync::Arc;

use super::{
    Bus, ClientId, Format, Now, Publication,
    framing::ChunkBuffer,
    unicast_queue::{Moment, Waiting},
};
use crate::{
    event::Event,
    limits::{CALLS_MAX, UNICAST_BUFFERS},
    protocol::{ErrorCode, Published, Refused},
};

/// An event on its way to the clients with one address, see [`Bus::begin_unicast`].
#[derive(Debug)]
pub struct Unicast {
    address: String,
    event: Event,
    from: Option<ClientId>,
    /// The clients that the steps have not reached yet, last first.
    rest: Vec<ClientId>,
    encoded: [Encoded; Format::COUNT],
    taken: u64,
    /// It repeats an earlier publish, and reaches no client.
    is_duplicate: bool,
}

/// The event in one format.
#[derive(Debug, Default)]
enum Encoded {
    /// No client has needed it so far.
    #[default]
    Unneeded,
    /// It would exceed the limit for all clients.
    NoRoom,
    Charged(Arc<Waiting>),
}

impl Bus {
    /// Begins to publish an event for the clients with an address. `from` is its publisher, if that is a client.
    ///
    /// [`Bus::publish`] does the same in one call. With many clients of one name this takes long: under a contended lock,
    /// begin, and [continue](Bus::continue_unicast) until there is a reply.
    ///
    /// # Errors
    ///
    /// The bus is closed, or the event is to be durable.
    pub fn begin_unicast(
        &mut self,
        publication: Publication,
        from: Option<ClientId>,
        now: Now,
    ) -> Result<Unicast, Refused> {
        self.refuse_when_closed()?;
        if publication.durable {
            let message =
                "an event for one client is in no history and cannot be durable; leave out `to`, or use ack `accepted`";
            return Err(Refused::new(ErrorCode::RequestInvalid, message));
        }
        let address = publication.to.clone().unwrap_or_default();
        let keys = publication.dedup_keys();
        let is_duplicate = self.duplicate(&keys, now).is_some();
        let mut rest = if is_duplicate { Vec::new() } else { self.clients.addressed(&address) };
        rest.reverse();
        if !is_duplicate {
            self.note_published(keys, None, now);
        }
        let event = publication.into_event(self.position(), now.unix);
        Ok(Unicast { address, event, from, rest, encoded: Default::default(), taken: 0, is_duplicate })
    }

    /// Delivers an event to the next clients, at most [`CALLS_MAX`]. Returns the reply once it has reached all of them, which
    /// counts those that took it.
    pub fn continue_unicast(&mut self, unicast: &mut Unicast) -> Option<Published> {
        let moment = Moment { turn: self.feeds.begin(), position: self.head };
        let Unicast { address, event, rest, encoded, taken, .. } = unicast;
        if event.id.seq != self.head {
            event.id = self.position();
            // The only format in which the event has an id: that of the position, which has changed.
            encoded[Format::BinaryV1 as usize] = Encoded::Unneeded;
        }
        for id in rest.split_off(rest.len().saturating_sub(CALLS_MAX)).into_iter().rev() {
            // A responder receives requests alone.
            if self.requests.responder(id).is_some() {
                continue;
            }
            let Some(subscriber) = self.clients.subscriber_mut(id) else { continue };
            if !subscriber.allowed.is_empty() && !subscriber.allowed.iter().any(|allowed| allowed.matches(&event.topic))
            {
                continue;
            }
            let key = subscriber.feed;
            // The open events of the feed are older than this event and must be read before it.
            self.feeds.seal(key, &self.limits);
            let Some(format) = self.feeds.get(key).map(|feed| feed.format) else { continue };
            let encoded = &mut encoded[format as usize];
            if let Encoded::Unneeded = encoded {
                let mut bytes = ChunkBuffer::default();
                format.encode_live(Some(address), event, bytes.payload());
                let charged = Waiting::charge(bytes.into(), &self.unicast_bytes);
                *encoded = charged.map_or(Encoded::NoRoom, Encoded::Charged);
            }
            let Encoded::Charged(waiting) = encoded else { continue };
            if subscriber.unicast.push(moment, waiting, self.limits.unicast_buffer) {
                self.wake(id);
                *taken += 1;
            }
        }
        if !rest.is_empty() {
            return None;
        }
        if unicast.is_duplicate {
            return Some(Published { duplicate: true, ..Published::new(None, 0) });
        }
        self.count_published(unicast.from, None);
        Some(Published::new(None, unicast.taken))
    }

    /// Sends a live-only event to one subscriber, which `encode` appends in its format. Returns false at the limit of
    /// [`UNICAST_BUFFERS`]; what waits for this client alone has no other.
    pub(super) fn send_live(&mut self, id: ClientId, encode: impl FnOnce(Format, &mut Vec<u8>)) -> bool {
        let moment = Moment { turn: self.feeds.begin(), position: self.head };
        let Some(subscriber) = self.clients.subscriber_mut(id) else { return false };
        let key = subscriber.feed;
        self.feeds.seal(key, &self.limits);
        let Some(format) = self.feeds.get(key).map(|feed| feed.format) else { return false };
        let mut bytes = ChunkBuffer::default();
        encode(format, bytes.payload());
        let Some(waiting) = Waiting::charge(bytes.into(), &self.unicast_bytes) else { return false };
        let is_taken = subscriber.unicast.push(moment, &waiting, UNICAST_BUFFERS);
        if is_taken {
            self.wake(id);
        }
        is_taken
    }
}
