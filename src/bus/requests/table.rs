//! All requests and responders.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::RandomState,
};

use rustc_hash::FxHashMap;

use super::{
    ids::RequestId,
    pending::Pending,
    responder::ConnectedResponder,
    settings::{AvailableResponders, Responder},
};
use crate::{
    bus::{filter_index::Index, ids::ClientId, topics::Topics},
    topic::Topic,
};

/// All requests and responders.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(super) responders: FxHashMap<ClientId, ConnectedResponder>,
    /// The filters of the responders, by their keys.
    pub(super) index: Index,
    /// The responder with each key. Keys are reused.
    pub(super) by_key: Vec<Option<ClientId>>,
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
    /// The responders that match a request, and their keys. Kept to reuse their memory.
    pub(super) matching: Vec<ClientId>,
    pub(super) matching_keys: Vec<usize>,
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
    pub(crate) fn responder(&self, id: ClientId) -> Option<&Responder> {
        self.responders.get(&id).map(|responder| &responder.settings)
    }

    pub(crate) fn responders(&self) -> usize {
        self.responders.len()
    }

    pub(crate) fn unanswered(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn filters_cost(&self) -> usize {
        self.filters_cost
    }

    /// Adds a responder. [`Bus::offer_requests`](crate::bus::Bus::offer_requests) gives it the requests that wait.
    pub(crate) fn connect(&mut self, id: ClientId, settings: Responder) {
        let free = self.by_key.iter().position(Option::is_none);
        let key = free.unwrap_or_else(|| {
            self.by_key.push(None);
            self.by_key.len() - 1
        });
        self.by_key[key] = Some(id);
        for filter in settings.filters.iter() {
            self.index.insert(filter, key);
        }
        self.filters_cost += Topics::cost_of(&settings.filters);
        let (in_flight, next) = (BTreeSet::new(), RequestId::default());
        let responder = ConnectedResponder { settings, key, in_flight, turn: 0, next };
        self.responders.insert(id, responder);
    }

    /// Counts the responders that match a topic.
    pub(crate) fn available(&mut self, topic: &Topic) -> AvailableResponders {
        self.index.matching(topic, &mut self.matching_keys);
        let clients = self.matching_keys.iter().filter_map(|key| self.by_key[*key]);
        let matching = clients.filter_map(|client| self.responders.get(&client));
        matching.fold(AvailableResponders::default(), |count, responder| AvailableResponders {
            free: count.free + usize::from(responder.is_free()),
            matching: count.matching + 1,
        })
    }

    /// Collects the responders that match a topic and have not received a request, in `matching`.
    pub(super) fn find(&mut self, id: RequestId) {
        self.matching.clear();
        let Some(Pending { event: Some(event), asked, .. }) = self.pending.get(&id) else { return };
        self.index.matching(&event.topic, &mut self.matching_keys);
        let clients = self.matching_keys.iter().filter_map(|key| self.by_key[*key]);
        self.matching.extend(clients.filter(|client| !asked.iter().any(|(asked, _)| asked == client)));
    }
}
