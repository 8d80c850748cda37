//! The end of requests, and of responders.

use super::{
    ids::RequestId,
    pending::Pending,
    table::{Ending, Requests},
};
use crate::{
    bus::{Bus, ClientId, Now, topics::Topics},
    protocol::{ErrorCode, Refused},
};

impl Bus {
    /// Marks a request to be ended if nothing more is expected for it.
    pub(super) fn settle_request(&mut self, id: RequestId) {
        let Requests { pending, waiting, ending, .. } = &mut self.requests;
        let Some(pending) = pending.get(&id).filter(|pending| !pending.has_ended()) else { return };
        let has_all = pending.replies.len() >= pending.wanted;
        if has_all || !(pending.is_outstanding() || waiting.contains(&id)) {
            ending.entry(id).or_insert(Ending::Settled);
        }
    }

    /// Ends the requests that are marked: frees their responders for others, and wakes their clients.
    pub(crate) fn end_requests(&mut self, now: Now) {
        let is_closed = self.is_closed;
        while let Some((id, ending)) = self.requests.ending.pop_first() {
            let Requests { pending, waiting, deadlines, responders, bytes, .. } = &mut self.requests;
            let Some(pending) = pending.get_mut(&id) else { continue };
            let Some(event) = pending.event.take() else { continue };
            let cost = Pending::cost_of(&event);
            (pending.bytes, *bytes) = (pending.bytes - cost, *bytes - cost);
            waiting.remove(&id);
            deadlines.remove(&(pending.deadline, id));
            match ending {
                Ending::TimedOut => {
                    let message = "no reply has arrived in time; allow more with a longer timeout";
                    pending.failure = Some(Refused::new(ErrorCode::TimedOut, message));
                }
                Ending::Settled | Ending::Cancelled => {
                    let topic = &event.topic;
                    let gone = || {
                        let message = format!("the last responder for `{topic}` has disconnected before it was free");
                        responder_left(is_closed, ErrorCode::NoResponder, message)
                    };
                    pending.failure.get_or_insert_with(gone);
                }
            }
            self.wakeups.woken.extend(pending.waker.take());
            let mut freed = Vec::new();
            for (client, is_outstanding) in &mut pending.asked {
                if std::mem::take(is_outstanding)
                    && let Some(responder) = responders.get_mut(client)
                {
                    responder.in_flight.remove(&id);
                    freed.push(*client);
                }
            }
            for client in freed {
                self.offer_requests(client, now);
            }
        }
    }

    /// Changes how many requests a responder receives at a time. With 0 it receives no further ones, and can still reply to those
    /// that it has.
    pub fn resize_responder(&mut self, id: ClientId, max_in_flight: usize, now: Now) {
        if max_in_flight == 0 {
            self.retire_responder(id);
            self.review_requests();
        } else if let Some(responder) =
            self.requests.responders.get_mut(&id).filter(|responder| !responder.is_retired())
        {
            responder.settings.max_in_flight = max_in_flight;
            self.offer_requests(id, now);
        }
        self.end_requests(now);
    }

    /// Takes a responder out of the selection. The requests that wait are checked for other responders.
    fn retire_responder(&mut self, id: ClientId) {
        let requests = &mut self.requests;
        let Some(responder) = requests.responders.get_mut(&id).filter(|responder| !responder.is_retired()) else {
            return;
        };
        responder.settings.max_in_flight = 0;
        for filter in responder.settings.filters.iter() {
            requests.index.remove(filter, responder.key);
        }
        requests.unfinished.remove(&id);
        if requests.review.is_some() {
            requests.review_again = true;
        } else {
            requests.review = requests.waiting.first().copied();
        }
    }

    /// Removes a responder that has disconnected. The requests that it has not answered fail.
    pub(crate) fn remove_responder(&mut self, id: ClientId, now: Now) {
        self.retire_responder(id);
        let requests = &mut self.requests;
        let Some(responder) = requests.responders.remove(&id) else { return };
        requests.by_key[responder.key] = None;
        requests.filters_cost -= Topics::cost_of(&responder.settings.filters);
        requests.unfinished.remove(&id);
        for request in responder.in_flight {
            let message = "the responder has disconnected before it replied".into();
            self.answered(request, id, Some(responder_left(self.is_closed, ErrorCode::ResponderGone, message)));
            self.settle_request(request);
        }
        self.review_requests();
        self.end_requests(now);
    }
}

/// Returns why a request has no reply after its responder has left, which it also does when the daemon stops.
fn responder_left(is_closed: bool, code: ErrorCode, message: String) -> Refused {
    if is_closed {
        return Refused::new(
            ErrorCode::Stopping,
            "the daemon is stopping; send the request again when there is another",
        );
    }
    Refused::new(code, message)
}
