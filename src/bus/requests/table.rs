//! All requests and responders.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::RandomState,
};

use rustc_hash::FxHashMap;

use super::{
    ids::RequestId,
    pending::Pending,
    responder::{ConnectedResponder, Responder},
};
use crate::bus::{filter_index::Index, ids::ClientId, topics::Topics};

/// All requests and responders.
#[derive(Debug, Default)]
pub(in crate::bus) struct Requests {
    pub(super) responders: FxHashMap<ClientId, ConnectedResponder>,
    /// The filters of the responders.
    pub(super) index: Index<ClientId>,
    /// Memory for these filters.
    pub(super) filters_cost: usize,
    /// The turn of the last request that a responder received.
    pub(super) turn: u64,
    pub(super) pending: FxHashMap<RequestId, Pending>,
    pub(super) last_id: u64,
    /// Requests that wait for responders to become free, oldest first.
    pub(super) waiting: BTreeSet<RequestId>,
    /// The deadlines of the requests that are not over.
    pub(super) deadlines: BTreeSet<(u64, RequestId)>,
    /// Bytes charged for all requests.
    pub(super) bytes: usize,
    /// Free responders that have not compared their filters with all waiting requests.
    pub(super) unfinished: BTreeSet<ClientId>,
    /// After a responder has disconnected: the next waiting request to check for other responders.
    pub(super) review: Option<RequestId>,
    /// Another responder has disconnected since that check began.
    pub(super) review_again: bool,
    pub(super) secret: RandomState,
    /// The responders that match a request. Kept to reuse its memory.
    pub(super) matching: Vec<ClientId>,
    /// Requests to end: kept here so that ending one, which frees responders for others, does not recurse.
    pub(super) ending: BTreeMap<RequestId, Ending>,
}

/// Why a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing more is expected.
    Settled,
    TimedOut,
    /// Its client has left.
    Cancelled,
}

impl Requests {
    /// Returns the settings of a responder.
    pub(in crate::bus) fn responder(&self, id: ClientId) -> Option<&Responder> {
        self.responders.get(&id).map(|responder| &responder.settings)
    }

    pub(in crate::bus) fn responders(&self) -> usize {
        self.responders.len()
    }

    pub(in crate::bus) fn unanswered(&self) -> usize {
        self.pending.len()
    }

    pub(in crate::bus) fn filters_cost(&self) -> usize {
        self.filters_cost
    }

    /// Adds a responder. [`Bus::offer_requests`](crate::bus::Bus::offer_requests) gives it the requests that wait.
    pub(in crate::bus) fn connect(&mut self, id: ClientId, settings: Responder) {
        for filter in settings.filters.iter() {
            self.index.insert(filter, id);
        }
        self.filters_cost += Topics::cost_of(&settings.filters);
        let responder =
            ConnectedResponder { settings, in_flight: BTreeSet::new(), turn: 0, next: RequestId::default() };
        self.responders.insert(id, responder);
    }

    /// Collects the responders that match a topic and have not received a request, in `matching`.
    pub(super) fn find(&mut self, id: RequestId) {
        self.matching.clear();
        let Some(Pending { event: Some(event), asked, .. }) = self.pending.get(&id) else { return };
        self.index.matching(&event.topic, &mut self.matching);
        self.matching.retain(|client| !asked.iter().any(|(asked, _)| asked == client));
    }
}
