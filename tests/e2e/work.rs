//! Workers on the local socket: deliveries, how they are settled, and what becomes of them when a connection ends.

use rustix::process::Signal;
use serde_json::{Value, json};
use sse_bus::protocol::{Consume, Reply, Request, binary::Version};

use crate::harness::{Daemon, Lines, until};

/// A daemon with a consumer of the topics `jobs/**`.
fn with_consumer(settings: &Value) -> Daemon {
    let daemon = Daemon::start(&[]);
    create(&daemon, settings);
    daemon
}

fn create(daemon: &Daemon, settings: &Value) {
    let mut create = json!({"filters": ["jobs/**"], "backoff": ["20ms"]});
    create.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let reply = daemon.lines().ask(json!({"consumer": {"name": "q", "action": {"create": create}}}).to_string());
    assert!(reply.get("error").is_none(), "{reply}");
}

/// A worker with a number of slots.
fn worker(daemon: &Daemon, slots: u64) -> Lines {
    let mut lines = daemon.lines();
    let reply = lines.ask(json!({"consume": {"consumer": "q", "max_in_flight": slots}}).to_string());
    assert_eq!(reply["consuming"]["consumer"], "q", "{reply}");
    lines
}

fn ask(lines: &mut Lines, request: &Value) -> Value {
    lines.ask(request.to_string())
}

/// The next delivery: its data, its attempt, and its token.
fn delivery(lines: &mut Lines) -> (String, u64, String) {
    let event = lines.event();
    let delivery = &event["delivery"];
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no delivery: {event}")).to_owned();
    (text(&event["data"]), delivery["attempt"].as_u64().unwrap(), text(&delivery["token"]))
}

fn settled(deliveries: u64) -> Value {
    json!({"settled": {"deliveries": deliveries}})
}

fn clients(daemon: &Daemon, role: &str) -> Vec<Value> {
    let clients = daemon.get("/clients").json();
    clients.as_array().unwrap().iter().filter(|client| client["role"] == role).cloned().collect()
}

#[test]
fn an_acknowledged_event_is_delivered_once() {
    let daemon = with_consumer(&json!({}));
    let mut first = worker(&daemon, 1);
    let id = daemon.publish("jobs/a", "one");
    daemon.publish("other", "not of this consumer");
    daemon.publish("jobs/b", "two");
    let event = first.event();
    assert_eq!((&event["id"], &event["topic"], &event["data"]), (&json!(id), &json!("jobs/a"), &json!("one")));
    let delivery_of = &event["delivery"];
    let deadline = delivery_of["deadline"].as_u64().unwrap();
    let published = event["time"].as_u64().unwrap();
    assert!((published + 29_000..published + 60_000).contains(&deadline), "{event}");
    assert_eq!(ask(&mut first, &json!({"ack": {"tokens": [delivery_of["token"]]}})), settled(1));
    let (data, attempt, token) = delivery(&mut first);
    assert_eq!((&*data, attempt), ("two", 1));
    assert_eq!(ask(&mut first, &json!({"ack": {"tokens": [token]}})), settled(1));
    daemon.publish("jobs/c", "three");
    assert_eq!(delivery(&mut first).0, "three");
}

#[test]
fn a_delivery_is_settled_in_each_way() {
    let daemon = with_consumer(&json!({}));
    // It makes the daemon look at its timers.
    let _stream = daemon.stream("/events/none");
    let mut first = worker(&daemon, 1);
    daemon.publish("jobs/a", "one");
    let (_, attempt, token) = delivery(&mut first);
    assert_eq!((attempt, ask(&mut first, &json!({"nak": {"tokens": [token], "delay_ms": 0}}))), (1, settled(1)));
    let (_, attempt, token) = delivery(&mut first);
    assert_eq!((attempt, ask(&mut first, &json!({"extend": {"tokens": [token]}}))), (2, settled(1)));
    assert_eq!(ask(&mut first, &json!({"release": {"tokens": [token]}})), settled(1));
    let (_, attempt, token) = delivery(&mut first);
    assert_eq!((attempt, ask(&mut first, &json!({"nak": {"tokens": [token]}}))), (2, settled(1)));
    let (_, attempt, token) = delivery(&mut first);
    assert_eq!(attempt, 3);
    assert_eq!(ask(&mut first, &json!({"reject": {"tokens": [token], "reason": "unreadable"}})), settled(1));
    daemon.publish("jobs/a", "two");
    assert_eq!(delivery(&mut first).0, "two");
}

#[test]
fn a_delivery_that_is_no_longer_current_is_refused_and_the_others_are_settled() {
    let daemon = with_consumer(&json!({}));
    let mut first = worker(&daemon, 4);
    for n in 1..=4 {
        daemon.publish("jobs/a", n.to_string());
    }
    let tokens: Vec<String> = (0..4).map(|_| delivery(&mut first).2).collect();
    assert_eq!(ask(&mut first, &json!({"ack": {"tokens": &tokens[..1]}})), settled(1));
    let again = ask(&mut first, &json!({"ack": {"tokens": &tokens[..1]}}));
    assert_eq!(again["error"]["code"], "stale_delivery", "{again}");
    assert_eq!(again["error"]["request"], 3, "{again}");
    let mixed = ask(&mut first, &json!({"ack": {"tokens": [tokens[0], tokens[1], "never issued", tokens[2]]}}));
    let message = mixed["error"]["message"].as_str().unwrap();
    assert_eq!(mixed["error"]["code"], "stale_delivery", "{mixed}");
    assert!(message.starts_with("2 of 4 deliveries") && message.contains("`never issued`"), "{message}");
    // Any connection may settle a delivery: one token is left.
    let mut other = daemon.lines();
    let rest = ask(&mut other, &json!({"release": {"tokens": tokens}}));
    assert!(rest["error"]["message"].as_str().unwrap().starts_with("3 of 4 deliveries"), "{rest}");
    assert_eq!(delivery(&mut first).0, "4");
    let long = ask(&mut other, &json!({"nak": {"tokens": ["1-1"], "delay_ms": u64::MAX}}));
    assert_eq!(long["error"]["code"], "request_invalid", "{long}");
}

#[test]
fn replies_have_the_order_of_the_requests() {
    let daemon = with_consumer(&json!({}));
    let mut first = worker(&daemon, 2);
    daemon.publish("jobs/a", "1");
    daemon.publish("jobs/a", "2");
    let tokens: Vec<String> = (0..2).map(|_| delivery(&mut first).2).collect();
    let requests = [
        json!({"ack": {"tokens": [tokens[0]]}}),
        json!({"publish": {"topic": "results", "data": "1"}}),
        json!({"ack": {"tokens": []}}),
        json!({"nothing": {}}),
        json!({"ack": {"tokens": [tokens[1]]}}),
        json!({"publish": {"topic": "results", "data": "2"}}),
    ];
    first.send_raw(requests.map(|request| request.to_string() + "\n").concat());
    assert_eq!(first.reply(), settled(1));
    assert!(first.reply()["published"]["id"].is_string());
    assert_eq!(first.reply(), settled(0));
    let refused = first.reply();
    assert_eq!((&refused["error"]["code"], &refused["error"]["request"]), (&json!("request_invalid"), &json!(5)));
    assert_eq!(first.reply(), settled(1));
    assert!(first.reply()["published"]["id"].is_string());
}

#[test]
fn a_lost_connection_counts_as_a_failed_attempt() {
    let daemon = with_consumer(&json!({}));
    let _stream = daemon.stream("/events/none");
    let mut first = worker(&daemon, 1);
    daemon.publish("jobs/a", "one");
    assert_eq!(delivery(&mut first).1, 1);
    drop(first);
    let (data, attempt, _) = delivery(&mut worker(&daemon, 1));
    assert_eq!((&*data, attempt), ("one", 2));
}

#[test]
fn a_worker_that_ends_in_an_orderly_way_does_not_count_the_attempt() {
    let daemon = with_consumer(&json!({"backoff": ["1h"]}));
    let mut first = worker(&daemon, 3);
    for n in 1..=3 {
        daemon.publish("jobs/a", n.to_string());
    }
    let tokens: Vec<String> = (0..3).map(|_| delivery(&mut first).2).collect();
    first.send(json!({"ack": {"tokens": [tokens[1]]}}).to_string());
    first.close_sending();
    assert_eq!(first.reply(), settled(1));
    assert_eq!(first.next(), None, "the daemon closes the connection");
    let mut second = worker(&daemon, 3);
    let again: Vec<_> = (0..2).map(|_| delivery(&mut second)).map(|(data, attempt, _)| (data, attempt)).collect();
    assert_eq!(again, [("1".into(), 1), ("3".into(), 1)]);
}

#[test]
fn a_daemon_that_stops_ends_its_workers() {
    let mut daemon = with_consumer(&json!({}));
    let mut first = worker(&daemon, 2);
    daemon.publish("jobs/a", "one");
    delivery(&mut first);
    daemon.signal(Signal::TERM);
    assert_eq!(first.next(), None);
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn two_workers_share_the_events() {
    let daemon = with_consumer(&json!({}));
    let mut workers = [worker(&daemon, 1), worker(&daemon, 1)];
    let mut sorted = Vec::new();
    for n in 0..20 {
        daemon.publish("jobs/a", (2 * n).to_string());
        daemon.publish("jobs/a", (2 * n + 1).to_string());
        for worker in &mut workers {
            let (data, attempt, token) = delivery(worker);
            assert_eq!(attempt, 1);
            sorted.push(data.parse::<u64>().unwrap());
            assert_eq!(ask(worker, &json!({"ack": {"tokens": [token]}})), settled(1));
        }
    }
    sorted.sort_unstable();
    assert_eq!(sorted, (0..40).collect::<Vec<u64>>());
}

#[test]
fn a_worker_with_many_slots_does_not_starve_one_with_a_single_slot() {
    let daemon = with_consumer(&json!({"max_in_flight": 2000}));
    let mut large = worker(&daemon, 1000);
    let mut small = worker(&daemon, 1);
    let mut publisher = daemon.lines();
    let publish = |n: u64| json!({"publish": {"topic": "jobs/a", "data": n.to_string()}}).to_string() + "\n";
    let batch: String = (0..500).map(publish).collect();
    for _ in 0..4 {
        publisher.send_raw(&batch);
        (0..500).for_each(|_| drop(publisher.reply()));
        let (_, _, token) = delivery(&mut small);
        assert_eq!(ask(&mut small, &json!({"ack": {"tokens": [token]}})), settled(1));
    }
    let mut tokens: Vec<String> = (0..1000).map(|_| delivery(&mut large).2).collect();
    let last = tokens.pop().unwrap();
    assert_eq!(ask(&mut large, &json!({"ack": {"tokens": [last]}})), settled(1));
}

#[test]
fn a_worker_that_takes_nothing_more_finishes_what_it_has() {
    let daemon = with_consumer(&json!({}));
    let _stream = daemon.stream("/events/none");
    let mut first = worker(&daemon, 1);
    daemon.publish("jobs/a", "one");
    daemon.publish("jobs/a", "two");
    let (_, _, token) = delivery(&mut first);
    let stop = json!({"consume": {"consumer": "q", "max_in_flight": 0}});
    assert_eq!(ask(&mut first, &stop)["consuming"]["consumer"], "q");
    assert_eq!(ask(&mut first, &json!({"ack": {"tokens": [token]}})), settled(1));
    let mut second = worker(&daemon, 1);
    let (data, _, token) = delivery(&mut second);
    assert_eq!(data, "two");
    assert_eq!(ask(&mut first, &json!({"ack": {"tokens": [token]}})), settled(1));
    drop(second);
    // It can begin again.
    daemon.publish("jobs/a", "three");
    let begin = json!({"consume": {"consumer": "q", "max_in_flight": 5}});
    assert_eq!(ask(&mut first, &begin)["consuming"]["consumer"], "q");
    assert_eq!(delivery(&mut first).0, "three");
    let other = ask(&mut first, &json!({"consume": {"consumer": "other"}}));
    assert_eq!(other["error"]["code"], "already_subscribed", "{other}");
    let other = ask(&mut first, &json!({"subscribe": {"filters": ["t"]}}));
    assert_eq!(other["error"]["code"], "already_subscribed", "{other}");
}

#[test]
fn a_worker_is_a_client_that_can_be_kicked() {
    let daemon = with_consumer(&json!({}));
    let _stream = daemon.stream("/events/none");
    let mut first = daemon.lines();
    let consume = json!({"consume": {"consumer": "q", "client": "press"}});
    let id = ask(&mut first, &consume)["consuming"]["client"].clone();
    daemon.publish("jobs/a", "one");
    delivery(&mut first);
    assert!(ask(&mut first, &json!({"publish": {"topic": "t", "data": "x"}}))["published"].is_object());
    let shown = clients(&daemon, "worker");
    assert_eq!(shown.len(), 1);
    assert_eq!((&shown[0]["id"], &shown[0]["name"], &shown[0]["via"]), (&id, &json!("press"), &json!("json")));
    assert_eq!((&shown[0]["filters"], &shown[0]["events"]), (&json!(["jobs/**"]), &json!(2)));
    assert_eq!(daemon.request("DELETE", "/clients/press", &[], "").json(), json!({"connections": 1}));
    assert_eq!(first.next(), None);
    assert_eq!(clients(&daemon, "worker").len(), 0);
    assert_eq!(delivery(&mut worker(&daemon, 1)).1, 2, "the attempt of a worker that was kicked counts");
}

#[test]
fn a_worker_of_a_consumer_that_is_deleted_learns_why_it_ends() {
    let daemon = with_consumer(&json!({}));
    let mut first = worker(&daemon, 1);
    let unknown = ask(&mut daemon.lines(), &json!({"consume": {"consumer": "other"}}));
    assert_eq!(unknown["error"]["code"], "consumer_unknown", "{unknown}");
    ask(&mut daemon.lines(), &json!({"consumer": {"name": "q", "action": "delete"}}));
    let end = first.reply();
    assert_eq!((&end["error"]["code"], &end["error"]["request"]), (&json!("consumer_unknown"), &json!(0)), "{end}");
    assert_eq!(first.next(), None);
    until("the worker is gone", || clients(&daemon, "worker").is_empty().then_some(()));
}

#[test]
fn deliveries_travel_in_binary_frames() {
    let daemon = with_consumer(&json!({}));
    let mut frames = daemon.frames_of(Version::V2);
    let Reply::Consuming(_) = frames.ask(&Request::Consume(Consume::new("q"))) else { panic!("no worker") };
    daemon.publish("jobs/a", "one");
    let Some(Reply::Event(event)) = frames.next() else { panic!("no event") };
    let delivery = event.delivery.expect("a delivery");
    assert_eq!((&*event.data, delivery.attempt), ("one", 1));
    let ack = Request::Ack { tokens: vec![delivery.token.clone()] };
    assert_eq!(frames.ask(&ack), Reply::Settled { deliveries: 1 });
    assert!(matches!(frames.ask(&ack), Reply::Error(refused) if refused.request == 3));
}

/// Such a worker, with more data in flight than the socket takes, reads again only once its acknowledgement is sent.
#[test]
fn a_worker_that_handles_one_event_after_the_other_is_not_blocked_by_the_next_ones() {
    let daemon = with_consumer(&json!({}));
    let data = "x".repeat(50_000);
    for _ in 0..300 {
        daemon.publish("jobs/a", &data);
    }
    let mut worker = worker(&daemon, 200);
    let mut acknowledged = 0;
    while acknowledged < 300 {
        let line = worker.reply();
        match line["event"]["delivery"]["token"].as_str() {
            Some(token) => worker.send(json!({"ack": {"tokens": [token]}}).to_string()),
            None => {
                assert_eq!(line, settled(1));
                acknowledged += 1;
            }
        }
    }
}
