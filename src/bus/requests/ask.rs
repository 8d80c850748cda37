//! Sending requests to responders.

use std::sync::Arc;

use super::{
    ids::{ReplyAddress, RequestId},
    parse::RequestTerms,
    pending::Pending,
    settings::Responder,
};
use crate::{
    bus::{Bus, ClientId, Now, Publication, state::refuse_more, topics::Topics},
    event::Event,
    limits::{REQUESTS_AT_ONCE, REQUESTS_BYTES, REQUESTS_MAX, RESPONDERS_MAX},
    protocol::{ErrorCode, Refused},
    time::whole_millis,
};

impl Bus {
    /// Sends a request to responders. Its result is [polled](Bus::poll_request) until it is there; a client that leaves
    /// [cancels](Bus::cancel_request) it. `from` is its publisher, if that is a client.
    ///
    /// # Errors
    ///
    /// No responder matches, there are too many requests, or the bus is closed.
    pub fn request(
        &mut self,
        publication: Publication,
        terms: RequestTerms,
        from: Option<ClientId>,
        now: Now,
    ) -> Result<RequestId, Refused> {
        self.refuse_when_closed()?;
        if self.requests.pending.len() >= REQUESTS_MAX {
            let message = format!("{REQUESTS_MAX} requests wait for replies, as many as there may be; try again later");
            return Err(Refused::new(ErrorCode::LimitRequests, message));
        }
        let event = publication.into_event(self.position(), now.unix);
        let bytes = Pending::cost_of(&event);
        self.charge_requests(bytes)?;
        self.requests.last_id += 1;
        let id = RequestId(self.requests.last_id);
        let deadline = now.mono.saturating_add(whole_millis(terms.timeout));
        let topic = event.topic.clone();
        let pending = Pending {
            event: Some(Arc::new(event)),
            wanted: terms.replies,
            deadline,
            asked: Vec::new(),
            replies: Vec::new(),
            failure: None,
            bytes,
            waker: None,
        };
        self.requests.pending.insert(id, pending);
        self.requests.find(id);
        if self.requests.matching.is_empty() {
            self.requests.pending.remove(&id);
            self.requests.bytes -= bytes;
            let message = format!("no responder for `{topic}` is connected; start one with `sse-busctl reply`");
            return Err(Refused::new(ErrorCode::NoResponder, message));
        }
        self.requests.deadlines.insert((deadline, id));
        self.ask(id, now);
        self.end_requests(now);
        self.count_published(from, None);
        Ok(id)
    }

    /// Charges bytes of requests and replies.
    pub(super) fn charge_requests(&mut self, bytes: usize) -> Result<(), Refused> {
        if self.requests.bytes + bytes > REQUESTS_BYTES {
            let message = format!(
                "the requests that wait, and their replies, would have more than {REQUESTS_BYTES} bytes; try again later"
            );
            return Err(Refused::new(ErrorCode::LimitRequests, message));
        }
        self.requests.bytes += bytes;
        Ok(())
    }

    /// Gives a new request to the free ones of the responders that were found for it, in turn. If it wants more, it waits for
    /// the others.
    fn ask(&mut self, id: RequestId, now: Now) {
        let requests = &mut self.requests;
        let Some(wanted) = requests.pending.get(&id).map(|pending| pending.wanted) else { return };
        let turn = |client: &ClientId| {
            let responder = requests.responders.get(client).filter(|responder| responder.is_free())?;
            Some((responder.turn, *client))
        };
        let mut free: Vec<_> = requests.matching.iter().filter_map(turn).collect();
        if free.len() > wanted {
            free.select_nth_unstable(wanted - 1);
            free.truncate(wanted);
        }
        free.sort_unstable();
        if free.len() < wanted.min(requests.matching.len()) {
            requests.waiting.insert(id);
        }
        for (_, client) in free {
            self.give(id, client, now);
        }
        self.settle_request(id);
    }

    /// Sends a request to a responder.
    fn give(&mut self, id: RequestId, client: ClientId, now: Now) {
        let requests = &mut self.requests;
        let Some(pending) = requests.pending.get_mut(&id) else { return };
        let (Some(event), Some(responder)) = (pending.event.clone(), requests.responders.get_mut(&client)) else {
            return;
        };
        requests.turn += 1;
        responder.turn = requests.turn;
        responder.in_flight.insert(id);
        pending.asked.push((client, true));
        let left = pending.deadline.saturating_sub(now.mono);
        let mut address = ReplyAddress::new(id, client, &requests.secret).to_string();
        if let Some(node) = &self.clients.node {
            address.extend(["@", node]);
        }
        if !self.send_live(client, |format, out| format.encode_request(&event, &address, left, out)) {
            let message = "too many bytes of live events wait for clients; try again later";
            self.answered(id, client, Some(Refused::new(ErrorCode::LimitRequests, message)));
        }
    }

    /// Gives a responder the oldest waiting requests that it matches, while it is free. Compares a bounded number.
    pub(crate) fn offer_requests(&mut self, client: ClientId, now: Now) {
        let mut left = REQUESTS_AT_ONCE;
        let is_finished = loop {
            let requests = &mut self.requests;
            let Some(responder) = requests.responders.get_mut(&client).filter(|responder| responder.is_free()) else {
                break true;
            };
            let Some(id) = requests.waiting.range(responder.next..).next().copied() else { break true };
            if left == 0 {
                break false;
            }
            left = left.saturating_sub(responder.settings.filters.iter().count());
            let Some(pending) = requests.pending.get(&id) else { break true };
            let matches = |event: &Arc<Event>| responder.settings.filters.matches(&event.topic);
            // One that is about to end is not sent.
            let is_ending = requests.ending.contains_key(&id);
            if is_ending || pending.has_asked(client) || !pending.event.as_ref().is_some_and(matches) {
                responder.next = RequestId(id.0 + 1);
                continue;
            }
            self.give(id, client, now);
            left = left.saturating_sub(self.review_request(id));
        };
        if is_finished {
            self.requests.unfinished.remove(&client);
        } else {
            self.requests.unfinished.insert(client);
        }
    }

    /// Checks whether a waiting request can still be given to another responder, and ends it if nothing more is expected. Returns
    /// the number of responders that were found, which is what it costs.
    pub(super) fn review_request(&mut self, id: RequestId) -> usize {
        let requests = &mut self.requests;
        requests.find(id);
        let found = requests.matching.len();
        let has_enough = requests.pending.get(&id).is_none_or(|pending| pending.asked.len() >= pending.wanted);
        if has_enough || requests.matching.is_empty() {
            requests.waiting.remove(&id);
        }
        self.settle_request(id);
        found
    }

    /// Refuses a responder that would exceed a limit.
    pub(crate) fn refuse_responder(&self, responder: &Responder) -> Result<(), Refused> {
        let responders = self.requests.responders();
        refuse_more(responders, RESPONDERS_MAX, ErrorCode::LimitResponders, "responders")?;
        self.refuse_more_filters(Topics::cost_of(&responder.filters))
    }
}
