//! Requests against a naive model: each goes to free responders that match, to those first that have waited longest, and ends
//! with the replies or the error that the model expects. None waits while a responder could take it.

use std::{collections::BTreeMap, task::Waker};

use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::Value;
use sse_bus::{
    Epoch, FilterSet, Headers, Topic,
    bus::{
        Bus, ClientId, Description, Format, Now, Publication, Read, Subscription,
        history::Memory,
        requests::{Answer, RequestId, RequestTerms},
    },
    limits::Limits,
    protocol::{ErrorCode, Respond},
    retention::Retention,
};

const TOPICS: [&str; 3] = ["a", "a/b", "c"];
const FILTERS: [&[&str]; 4] = [&["a"], &["a/**"], &["*", "a/b"], &["c"]];

#[derive(Clone, Debug)]
enum Op {
    Respond { filters: usize, slots: u64 },
    Leave(Index),
    Retire(Index),
    Request { topic: usize, wanted: usize, timeout: u64 },
    Reply { request: Index, fails: bool },
    ReplyLate(Index),
    Cancel(Index),
    Advance(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..FILTERS.len(), 1..4_u64).prop_map(|(filters, slots)| Op::Respond { filters, slots }),
        2 => any::<Index>().prop_map(Op::Leave),
        1 => any::<Index>().prop_map(Op::Retire),
        12 => (0..TOPICS.len(), 1..4_usize, prop_oneof![Just(5_u64), Just(1000)])
            .prop_map(|(topic, wanted, timeout)| Op::Request { topic, wanted, timeout }),
        10 => (any::<Index>(), prop::bool::weighted(0.2)).prop_map(|(request, fails)| Op::Reply { request, fails }),
        1 => any::<Index>().prop_map(Op::ReplyLate),
        1 => any::<Index>().prop_map(Op::Cancel),
        2 => (1..8_u64).prop_map(Op::Advance),
    ]
}

#[derive(Debug)]
struct Responder {
    filters: FilterSet,
    slots: usize,
    /// The step in which it received its last request.
    turn: usize,
}

#[derive(Debug)]
struct Request {
    topic: Topic,
    wanted: usize,
    deadline: u64,
    /// The responders that have received it. An address for those that have not replied.
    asked: BTreeMap<ClientId, Option<String>>,
    replies: Vec<String>,
    failure: Option<ErrorCode>,
    /// It may still go to other responders.
    waits: bool,
}

struct World {
    bus: Bus,
    now: u64,
    step: usize,
    responders: BTreeMap<ClientId, Responder>,
    requests: BTreeMap<RequestId, Request>,
    /// Addresses of requests that have ended, or that were answered.
    stale: Vec<String>,
}

impl World {
    fn new() -> World {
        let bus = Bus::new(Epoch::from_seed(1), Limits::default(), Box::new(Memory::new(Retention::default())));
        World { bus, now: 1, step: 0, responders: BTreeMap::new(), requests: BTreeMap::new(), stale: Vec::new() }
    }

    fn now(&self) -> Now {
        Now { mono: self.now, unix: self.now }
    }

    fn is_free(&self, id: ClientId) -> bool {
        let open = self.requests.values().filter(|request| matches!(request.asked.get(&id), Some(Some(_)))).count();
        open < self.responders[&id].slots
    }

    /// The responders that a request has not reached.
    fn others(&self, request: &Request) -> Vec<ClientId> {
        let matches = |(id, responder): (&ClientId, &Responder)| {
            let is_other = responder.slots > 0 && responder.filters.matches(&request.topic);
            (is_other && !request.asked.contains_key(id)).then_some(*id)
        };
        self.responders.iter().filter_map(matches).collect()
    }

    fn run(&mut self, op: &Op) {
        self.step += 1;
        let now = self.now();
        match op {
            Op::Respond { filters, slots } => {
                let respond = Respond::new(FILTERS[*filters].to_vec()).with_max_in_flight(*slots);
                let subscription = Subscription::respond(&respond, Format::Json, Description::default()).unwrap();
                let filters = FilterSet::parse(FILTERS[*filters]).unwrap();
                let (id, _) = self.bus.subscribe(subscription, now).unwrap();
                self.responders.insert(id, Responder { filters, slots: *slots as usize, turn: 0 });
            }
            Op::Leave(index) => {
                let Some(id) = pick(*index, self.responders.keys()) else { return };
                self.bus.disconnect(id, now);
                self.responders.remove(&id);
                for request in self.requests.values_mut() {
                    if let Some(address) = request.asked.get_mut(&id).and_then(Option::take) {
                        self.stale.push(address);
                        request.failure = Some(ErrorCode::ResponderGone);
                    }
                }
            }
            Op::Retire(index) => {
                let Some(id) = pick(*index, self.responders.keys()) else { return };
                self.bus.resize_responder(id, 0, now);
                self.responders.get_mut(&id).unwrap().slots = 0;
            }
            Op::Request { topic, wanted, timeout } => self.request(TOPICS[*topic], *wanted, *timeout),
            Op::Reply { request: index, fails } => {
                let open = |(id, request): (&RequestId, &Request)| {
                    let open = request.asked.iter().filter(|(_, address)| address.is_some());
                    open.map(|(responder, _)| (*id, *responder)).collect::<Vec<_>>()
                };
                let open: Vec<_> = self.requests.iter().flat_map(open).collect();
                let Some((id, responder)) = pick(*index, open.iter()) else { return };
                let request = self.requests.get_mut(&id).unwrap();
                let address = request.asked.get_mut(&responder).unwrap().take().unwrap();
                let data = format!("{id:?} {responder}");
                let answer = if *fails {
                    request.failure = Some(ErrorCode::ResponderFailed);
                    Answer::Failed("no".into())
                } else {
                    request.replies.push(data.clone());
                    Answer::Reply { data, headers: Headers::default() }
                };
                assert_eq!(self.bus.reply(&address, answer, now), Ok(()));
                self.stale.push(address);
            }
            Op::ReplyLate(index) => {
                let Some(address) = pick(*index, self.stale.iter()) else { return };
                let refused = self.bus.reply(&address, Answer::Failed(String::new()), now).unwrap_err();
                assert_eq!(refused.code, ErrorCode::StaleRequest);
            }
            Op::Cancel(index) => {
                let Some(id) = pick(*index, self.requests.keys()) else { return };
                self.bus.cancel_request(id, now);
                self.end(id);
            }
            Op::Advance(time) => self.now += time,
        }
    }

    fn request(&mut self, topic: &str, wanted: usize, timeout: u64) {
        let topic = Topic::parse(topic).unwrap();
        let terms = RequestTerms { timeout: std::time::Duration::from_millis(timeout), replies: wanted };
        let mut request = Request {
            topic: topic.clone(),
            wanted,
            deadline: self.now + timeout,
            asked: BTreeMap::new(),
            replies: Vec::new(),
            failure: None,
            waits: true,
        };
        let matching = self.others(&request);
        let free: Vec<_> = matching.iter().copied().filter(|id| self.is_free(*id)).collect();
        let id = match self.bus.request(Publication::new(topic, "x"), terms, None, self.now()) {
            Ok(id) => id,
            Err(refused) => {
                assert_eq!((refused.code, matching.len()), (ErrorCode::NoResponder, 0));
                return;
            }
        };
        assert_ne!(matching.len(), 0, "no responder matches");
        let received: Vec<_> = free.iter().flat_map(|id| self.read(*id)).collect();
        assert_eq!(received.len(), wanted.min(free.len()), "{free:?} are free");
        let is_given = |id: &&ClientId| received.iter().any(|(client, _)| client == *id);
        let (given, left): (Vec<_>, Vec<_>) = free.iter().partition(is_given);
        let turn = |id: &&ClientId| self.responders[id].turn;
        let (last, next) = (given.iter().map(turn).max(), left.iter().map(turn).min());
        assert!(last.zip(next).is_none_or(|(last, next)| last <= next), "not in turn: {received:?} of {free:?}");
        for (client, address) in received {
            self.responders.get_mut(&client).unwrap().turn = self.step;
            request.asked.insert(client, Some(address));
        }
        self.requests.insert(id, request);
    }

    /// Reads the requests that a responder has received, with their addresses.
    fn read(&mut self, id: ClientId) -> Vec<(ClientId, String)> {
        let (mut out, mut bytes) = (Vec::new(), Vec::new());
        while self.bus.read(id, self.now(), Waker::noop(), &mut out) == Read::Ready {}
        for chunk in &out {
            bytes.extend_from_slice(chunk);
        }
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let events = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
        events.map(|event| (id, event["event"]["reply_to"].as_str().unwrap().to_owned())).collect()
    }

    fn end(&mut self, id: RequestId) {
        let request = self.requests.remove(&id).unwrap();
        self.stale.extend(request.asked.into_values().flatten());
    }

    /// Finishes the work of the bus, and compares.
    fn compare(&mut self) {
        while self.bus.next_request_timer().is_some_and(|at| at <= self.now) {
            self.bus.tick_requests(self.now());
            self.bus.self_check();
        }
        // A responder has received older requests that waited.
        for client in self.responders.keys().copied().collect::<Vec<_>>() {
            for (_, address) in self.read(client) {
                let number: u64 = address.split('-').next().unwrap().parse().unwrap();
                let is_it = |(id, _): &(&RequestId, &mut Request)| format!("{id:?}") == format!("RequestId({number})");
                // One that was over before it was read is stale.
                let Some((_, request)) = self.requests.iter_mut().find(is_it) else {
                    self.stale.push(address);
                    continue;
                };
                assert!(request.waits && self.responders[&client].filters.matches(&request.topic), "{request:?}");
                assert_eq!(request.asked.insert(client, Some(address)), None, "asked twice");
                assert!(request.asked.len() <= request.wanted, "{request:?}");
                self.responders.get_mut(&client).unwrap().turn = self.step;
            }
        }
        for id in self.requests.keys().copied().collect::<Vec<_>>() {
            let request = &self.requests[&id];
            let others = self.others(request);
            let waits = request.waits && request.asked.len() < request.wanted && !others.is_empty();
            let is_outstanding = request.asked.values().any(Option::is_some);
            let is_late = self.now >= request.deadline;
            let has_ended = is_late || request.replies.len() == request.wanted || !(waits || is_outstanding);
            let result = self.bus.poll_request(id, Waker::noop());
            let request = self.requests.get_mut(&id).unwrap();
            request.waits = waits;
            let Some(result) = result else {
                assert!(!has_ended, "not over: {request:?}");
                continue;
            };
            assert!(has_ended, "over: {request:?}, {result:?}");
            match result {
                Ok(replies) => {
                    assert!(replies.into_iter().map(|reply| reply.data).eq(request.replies.clone()), "{request:?}");
                    assert!(!request.replies.is_empty());
                }
                Err(refused) => {
                    let failure = request.failure.unwrap_or(ErrorCode::NoResponder);
                    let ended_before = !(waits || is_outstanding);
                    let expected = if is_late && !ended_before { ErrorCode::TimedOut } else { failure };
                    assert_eq!((refused.code, request.replies.len()), (expected, 0), "{request:?}");
                }
            }
            self.end(id);
        }
        for client in self.responders.iter().filter(|(_, responder)| responder.slots > 0).map(|(id, _)| *id) {
            let open = self.requests.values().filter(|r| matches!(r.asked.get(&client), Some(Some(_)))).count();
            assert!(open <= self.responders[&client].slots, "{client} has {open} requests");
        }
        for request in self.requests.values().filter(|request| request.waits) {
            let free = self.others(request).into_iter().find(|other| self.is_free(*other));
            assert_eq!(free, None, "it could take {request:?}");
        }
    }
}

fn pick<'a, T: Clone + 'a>(index: Index, mut of: impl ExactSizeIterator<Item = &'a T>) -> Option<T> {
    let count = of.len();
    if count == 0 { None } else { of.nth(index.index(count)).cloned() }
}

proptest! {
    #![proptest_config(super::config(1500))]

    #[test]
    fn every_request_ends_as_expected(ops in vec(op(), 1..80)) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
            world.bus.self_check();
            world.compare();
            world.bus.self_check();
        }
    }
}
