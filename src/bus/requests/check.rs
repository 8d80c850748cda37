//! The self-check of requests.

use std::collections::BTreeSet;

use super::{pending::Pending, table::Requests};
use crate::bus::{Bus, topics::Topics};

impl Bus {
    /// Computes every counter and index of requests from scratch, and panics if one differs.
    pub(crate) fn self_check_requests(&self) {
        let Requests { responders, pending, waiting, unfinished, review, .. } = &self.requests;
        assert!(self.requests.ending.is_empty(), "requests to end: {:?}", self.requests.ending);
        let (mut filters, mut cost) = (Vec::new(), 0);
        for (id, responder) in responders {
            assert!(self.clients.get(*id).is_some(), "the responder {id} is no client");
            cost += Topics::cost_of(&responder.settings.filters);
            let indexed = responder.settings.filters.iter().filter(|_| !responder.is_retired());
            filters.extend(indexed.map(|filter| (filter.to_string(), responder.key)));
            assert_eq!(self.requests.by_key[responder.key], Some(*id), "the key of {id}");
            let open = |(_, pending): &(_, &Pending)| pending.asked.contains(&(*id, true));
            let in_flight: BTreeSet<_> = pending.iter().filter(open).map(|(request, _)| *request).collect();
            assert_eq!(responder.in_flight, in_flight, "the requests of {id}");
            for request in waiting.iter().filter(|_| responder.is_free() && !unfinished.contains(id)) {
                let Some(event) = &pending[request].event else { panic!("{request:?} waits and has ended") };
                let could_ask = responder.settings.filters.matches(&event.topic) && !pending[request].has_asked(*id);
                assert!(!could_ask, "{request:?} waits and {id} is free");
            }
        }
        assert_eq!(self.requests.filters_cost, cost, "memory for the filters of responders");
        let mut indexed = Vec::new();
        self.requests.index.self_check_list(None, &mut indexed);
        indexed.sort_unstable();
        filters.sort_unstable();
        assert_eq!(indexed, filters, "the index of the filters of responders");
        let open = || pending.iter().filter(|(_, pending)| !pending.has_ended());
        let deadlines: BTreeSet<_> = open().map(|(id, pending)| (pending.deadline, *id)).collect();
        assert_eq!(self.requests.deadlines, deadlines, "deadlines of requests");
        let mut bytes = 0;
        for (id, request) in pending {
            let replies = request.replies.iter().map(|reply| reply.data.len() + reply.headers.as_lines().len());
            let own = replies.sum::<usize>() + request.event.as_ref().map_or(0, |event| Pending::cost_of(event));
            assert_eq!(request.bytes, own, "bytes of {id:?}");
            assert!(request.replies.len() <= request.wanted, "replies to {id:?}");
            bytes += own;
            let is_waiting = waiting.contains(id);
            assert!(request.has_ended() || is_waiting || request.is_outstanding(), "nothing is expected for {id:?}");
            assert!(!(request.has_ended() && (is_waiting || request.is_outstanding())), "{id:?} has ended");
            if let Some(event) = request.event.as_ref().filter(|_| is_waiting && review.is_none()) {
                let mut matching = Vec::new();
                self.requests.index.matching(&event.topic, &mut matching);
                matching.retain(|key| self.requests.by_key[*key].is_some_and(|client| !request.has_asked(client)));
                assert!(!matching.is_empty(), "{id:?} waits and no responder is left");
            }
        }
        assert_eq!(self.requests.by_key.iter().flatten().count(), responders.len(), "keys of responders");
        assert_eq!(self.requests.bytes, bytes, "bytes of all requests");
        assert!(waiting.iter().all(|id| pending.contains_key(id)), "waiting requests");
    }
}
