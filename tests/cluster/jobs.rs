//! Consumers: workers of any node share the events, and any node settles their deliveries.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    harness::{Daemon, Lines, until},
    nodes::Pair,
};

/// Sends a request about the consumer `jobs`, and returns the reply.
pub(crate) fn admin(daemon: &Daemon, action: &Value) -> Value {
    daemon.lines().ask(json!({"consumer": {"name": "jobs", "action": action}}).to_string())
}

pub(crate) fn create(daemon: &Daemon, config: &Value) {
    let reply = admin(daemon, &json!({ "create": config }));
    assert_eq!(reply, json!({"changed": {"count": 1}}));
}

pub(crate) fn show(daemon: &Daemon) -> Value {
    admin(daemon, &json!("show"))["consumer"].take()
}

/// Makes a connection a worker.
fn worker(daemon: &Daemon, slots: usize) -> Lines {
    let mut lines = daemon.lines();
    let reply = lines.ask(json!({"consume": {"consumer": "jobs", "max_in_flight": slots}}).to_string());
    assert_eq!(reply["consuming"]["consumer"], "jobs", "{reply}");
    lines
}

/// Returns the data, the token and the attempt of the next delivery.
fn take(worker: &mut Lines) -> (String, String, u64) {
    let event = worker.reply()["event"].take();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{event}")).to_owned();
    (text(&event["data"]), text(&event["delivery"]["token"]), event["delivery"]["attempt"].as_u64().unwrap())
}

fn settle(daemon: &Daemon, verb: &str, token: &str) -> Value {
    let more = if verb == "reject" { json!({"tokens": [token], "reason": "bad"}) } else { json!({"tokens": [token]}) };
    daemon.lines().ask(json!({ verb: more }).to_string())
}

fn is_stale(reply: &Value) -> bool {
    reply["error"]["code"] == "stale_delivery"
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn workers_of_all_nodes_share_the_events() {
    let Pair { left, right, server: _server } = Pair::start();
    create(&left, &json!({"filters": ["jobs/**"]}));
    let mut workers = [worker(&left, 10), worker(&right, 10)];
    until("both are known", || (show(&right)["workers"] == 2).then_some(()));
    let client = &right.get("/clients").json()[0];
    assert_eq!((&client["role"], &client["filters"]), (&json!("worker"), &json!(["jobs/**"])));
    for number in 0..20 {
        right.publish("jobs/a", number.to_string());
    }
    let mut done: Vec<String> = Vec::new();
    // Each worker takes only what it has slots for, so that nothing is left for later.
    for worker in &mut workers {
        for _ in 0..10 {
            let (data, token, attempt) = take(worker);
            assert_eq!(attempt, 1);
            assert_eq!(settle(&right, "ack", &token)["settled"]["deliveries"], 1);
            done.push(data);
        }
    }
    done.sort_by_key(|data| data.parse::<u64>().unwrap());
    assert_eq!(done, (0..20).map(|number: u64| number.to_string()).collect::<Vec<_>>());
    for node in [&left, &right] {
        let info = show(node);
        assert_eq!((&info["pending"], &info["in_flight"], &info["delivered"]), (&json!(0), &json!(0), &json!(20)));
        assert_eq!(node.ctl(&["consumer", "list"]).ok().json()[0]["name"], "jobs");
    }
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn a_delivery_is_settled_over_any_node_until_its_deadline() {
    let Pair { left, right, server: _server } = Pair::start();
    create(&left, &json!({"filters": ["jobs/*"], "ack_wait": "1s", "backoff": ["10ms"]}));
    for data in ["one", "two"] {
        left.publish("jobs/a", data);
    }
    let taken = left.request("POST", "/consumers/jobs/next?count=1", &[], "").json();
    let first = taken["delivery"]["token"].as_str().unwrap().to_owned();
    assert!(first.ends_with(":jobs@left"), "{first}");
    let ack = |token: &str| right.request("POST", "/consumers/jobs/ack", &[], json!({"tokens": [token]}).to_string());
    assert_eq!(ack(&first).json(), json!({"deliveries": 1}));
    assert_eq!(ack(&first).refusal(), (409, "stale_delivery".into()));
    // Neither another run of a node nor a node that does not exist has it.
    for other in [first.replace(":jobs@left", "0:jobs@left"), first.replace("@left", "@elsewhere"), "x".into()] {
        assert_eq!(ack(&other).refusal(), (409, "stale_delivery".into()), "{other}");
    }

    // The second one is not settled in time, and is delivered again.
    let mut early = worker(&left, 1);
    let (data, token, attempt) = take(&mut early);
    assert_eq!((&*data, attempt), ("two", 1));
    // The first worker takes no more.
    early.send(json!({"consume": {"consumer": "jobs", "max_in_flight": 0}}).to_string());
    let mut late = worker(&right, 1);
    let (data, again, attempt) = take(&mut late);
    assert_eq!((&*data, attempt), ("two", 2));
    assert!(is_stale(&settle(&right, "ack", &token)));
    // It is kept beyond its deadline by extending it.
    for _ in 0..4 {
        assert_eq!(settle(&left, "extend", &again)["settled"]["deliveries"], 1);
        std::thread::sleep(Duration::from_millis(400));
    }
    assert_eq!(settle(&left, "ack", &again)["settled"]["deliveries"], 1);
    until("everything is done", || (show(&left)["in_flight"] == 0).then_some(()));
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn an_event_without_attempts_left_is_a_dead_letter_on_all_nodes() {
    let Pair { left, right, server: _server } = Pair::start();
    create(&left, &json!({"filters": ["jobs/*"], "max_attempts": 2, "backoff": ["10ms"]}));
    let ids = ["fails", "rejected"].map(|data| left.publish("jobs/a", data));
    let mut taking = worker(&left, 1);
    let (mut attempts, mut failures) = (Vec::new(), 0);
    while failures < 3 {
        let (data, token, attempt) = take(&mut taking);
        let verb = if data == "fails" { "nak" } else { "reject" };
        assert_eq!(settle(&right, verb, &token)["settled"]["deliveries"], 1);
        attempts.push((data, attempt));
        failures += 1;
    }
    attempts.sort();
    assert_eq!(attempts, [("fails".into(), 1), ("fails".into(), 2), ("rejected".into(), 1)]);
    let letters = right.ctl(&["dead", "list", "jobs"]).ok().json();
    let shown: Vec<_> =
        letters.iter().map(|letter| json!([letter["id"], letter["reason"], letter["attempts"]])).collect();
    assert_eq!(shown, [json!([ids[0], "attempts", 2]), json!([ids[1], "rejected", 1])]);
    assert_eq!((&letters[1]["text"], &letters[1]["data"]), (&json!("bad"), &json!("rejected")));
    assert_eq!((&show(&left)["dead"], &show(&left)["in_flight"]), (&json!(2), &json!(0)));
    // Every view of either node counts them.
    let status = right.status();
    assert_eq!((&status["consumers"], &status["workers"], &status["dead"]), (&json!(1), &json!(1), &json!(2)));
    assert!((right.metric("sse_bus_dead_letters") - 2.0).abs() < 0.1 && right.metric("sse_bus_consumers") > 0.5);
    let doctor = left.ctl(&["doctor"]).ok().stdout;
    assert!(
        doctor.contains("the consumer jobs has 2 dead letters") && doctor.contains("sse-busctl dead list jobs"),
        "{doctor}"
    );

    assert_eq!(right.ctl(&["dead", "retry", "jobs", &ids[0]]).ok().json()[0]["retried"], 1);
    let (data, token, attempt) = take(&mut taking);
    assert_eq!((&*data, attempt), ("fails", 1));
    assert_eq!(settle(&left, "ack", &token)["settled"]["deliveries"], 1);
    right.ctl(&["dead", "drop", "jobs", &ids[0]]).ends_with(4).says("no dead letter");
    assert_eq!(right.ctl(&["dead", "drop", "jobs", "--all"]).ok().json()[0]["dropped"], 1);
    assert_eq!(left.ctl(&["dead", "list", "jobs"]).ok().stdout, "");
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn a_consumer_is_managed_over_any_node() {
    let Pair { left, right, server: _server } = Pair::start();
    left.ctl(&["consumer", "create", "jobs", "jobs/*", "--on-full", "refuse"]).ends_with(2).says("on_full");
    let config = json!({"filters": ["jobs/*"], "ack_wait": "20s"});
    create(&left, &config);
    assert_eq!(admin(&right, &json!({ "create": config })), json!({"changed": {"count": 0}}));
    let other = admin(&right, &json!({"create": {"filters": ["jobs/*"]}}));
    assert_eq!(other["error"]["code"], "consumer_exists");
    assert!(other["error"]["message"].as_str().unwrap().contains("`ack_wait` is 20s, not 30s"), "{other}");
    right.ctl(&["consumer", "show", "none"]).ends_with(4).says("there is no consumer `none`");

    left.publish("jobs/a", "first");
    let mut taking = worker(&right, 1);
    let (_, token, _) = take(&mut taking);
    right.ctl(&["consumer", "pause", "jobs"]).ok();
    assert_eq!(show(&left)["paused"], true);
    left.publish("jobs/a", "second");
    assert_eq!(settle(&left, "ack", &token)["settled"]["deliveries"], 1);
    let next = left.request("POST", "/consumers/jobs/next?wait=500ms", &[], "");
    assert_eq!((next.status, next.text()), (200, String::new()));
    left.ctl(&["consumer", "resume", "jobs"]).ok();
    let (data, token, _) = take(&mut taking);
    assert_eq!(data, "second");

    // A consumer that is moved delivers to the same worker.
    left.ctl(&["consumer", "seek", "jobs", "all"]).ok();
    assert!(is_stale(&settle(&right, "ack", &token)) || is_stale(&settle(&left, "ack", &token)));
    let (data, token, _) = take(&mut taking);
    assert_eq!(data, "first");
    right.ctl(&["consumer", "delete", "jobs"]).ok();
    assert!(is_stale(&settle(&left, "ack", &token)));
    let ended = until("the worker ends", || taking.next());
    assert_eq!(ended["error"]["code"], "consumer_unknown", "{ended}");
    assert_eq!(left.ctl(&["consumer", "list"]).ok().stdout, "");
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn filters_that_the_servers_would_refuse_deliver_each_event_once() {
    let Pair { left, right, server: _server } = Pair::start();
    create(&left, &json!({"filters": ["a/*/c", "a/b/*", "x/**", "x/y", "dot.ted/*"], "max_in_flight": 100}));
    let matching = ["a/b/c", "a/z/c", "a/b/z", "x", "x/y", "x/y/z", "dot.ted/1"];
    for topic in ["a/z/z", "a/b", "b", "dot/ted", "y/x"].iter().chain(&matching) {
        right.publish(topic, *topic);
    }
    let mut taking = worker(&left, 100);
    let mut received: Vec<String> = Vec::new();
    for _ in matching {
        let (data, token, _) = take(&mut taking);
        assert_eq!(settle(&right, "ack", &token)["settled"]["deliveries"], 1);
        received.push(data);
    }
    received.sort();
    let mut wanted: Vec<String> = matching.map(String::from).into();
    wanted.sort();
    assert_eq!(received, wanted);
    // Those that do not match are not left over.
    until("nothing is left", || {
        let info = show(&left);
        (info["pending"] == 0 && info["in_flight"] == 0).then_some(())
    });
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn what_a_node_had_is_delivered_by_another_after_its_end() {
    let Pair { left, mut right, server: _server } = Pair::start();
    create(&left, &json!({"filters": ["jobs/*"], "ack_wait": "1s", "backoff": ["10ms"]}));
    left.publish("jobs/a", "stopped");
    let mut stopping = worker(&right, 1);
    assert_eq!(take(&mut stopping).0, "stopped");
    let mut taking = worker(&left, 1);
    // A node that stops gives its deliveries back at once.
    right.signal(Signal::TERM);
    right.wait();
    let (data, token, _) = take(&mut taking);
    assert_eq!(data, "stopped");
    assert_eq!(settle(&left, "ack", &token)["settled"]["deliveries"], 1);
    drop(taking);

    right.start_again();
    let mut dying = worker(&right, 1);
    left.publish("jobs/a", "killed");
    let (_, token, _) = take(&mut dying);
    right.kill();
    let mut taking = worker(&left, 1);
    let (data, again, attempt) = take(&mut taking);
    assert_eq!((&*data, attempt), ("killed", 2));
    assert_eq!(settle(&left, "ack", &again)["settled"]["deliveries"], 1);
    until("the node is lost", || is_stale(&settle(&left, "ack", &token)).then_some(()));
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn a_program_that_works_for_a_consumer_ends_in_an_orderly_way() {
    let Pair { left, right, server: _server } = Pair::start();
    create(&left, &json!({"filters": ["jobs/*"], "backoff": ["10ms"]}));
    let mut first = left.spawn_ctl(&["work", "jobs", "--exec", "cat; echo; sleep 60", "--grace", "0s"]);
    left.publish("jobs/a", "work");
    assert_eq!(first.line(), "work");
    first.signal(Signal::TERM);
    first.finish();
    let mut second = right.spawn_ctl(&["work", "jobs", "--exec", "cat; echo; test $SSE_BUS_ATTEMPT -le 3"]);
    assert_eq!(second.line(), "work");
    until("it is done", || (show(&left)["in_flight"] == 0).then_some(()));
    let token = left.ctl(&["token", "create", "--name", "work", "--scope", "work", "--topic", "other/**"]).ok();
    let header = format!("Bearer {}", token.stdout.trim());
    let refused = left.request("POST", "/consumers/jobs/next", &[("Authorization", &header)], "").refusal();
    assert_eq!(refused.0, 403, "{refused:?}");
}

#[test]
#[ignore = "needs nats-server: two nodes share it"]
fn an_event_sent_to_a_consumer_waits_for_a_worker_of_any_node() {
    let Pair { left, right, server: _server } = Pair::start();
    create(&left, &json!({"filters": ["jobs/*"]}));
    let sent = right.ctl(&["send", "jobs", "letter", "--topic", "greet", "--json"]).ok().json();
    assert_eq!((&sent[0]["queued"], &sent[0]["subscribers"]), (&json!(true), &json!(0)));
    let mut taking = worker(&left, 1);
    let event = taking.reply()["event"].take();
    assert_eq!((&event["data"], &event["topic"]), (&json!("letter"), &json!("$mailbox/jobs/greet")));
    assert_eq!(event["id"], sent[0]["id"]);
    let token = event["delivery"]["token"].as_str().unwrap();
    assert_eq!(settle(&right, "reject", token)["settled"]["deliveries"], 1);
    assert_eq!(left.ctl(&["dead", "retry", "jobs", "--all"]).ok().json()[0]["retried"], 1);
    let event = taking.reply()["event"].take();
    assert_eq!((&event["data"], &event["id"]), (&json!("letter"), &sent[0]["id"]));
    // Neither a client nor a consumer has this name.
    let sent = right.ctl(&["send", "nobody", "letter"]);
    assert_eq!(sent.code, Some(4), "{sent}");
}

#[test]
#[ignore = "needs nats-server: a node uses it"]
fn large_events_long_reasons_and_all_names_are_kept() {
    let Pair { left, right, server: _server } = Pair::start();
    let name = "A.b_c-1";
    left.ctl(&["consumer", "create", name, "jobs/*", "--backoff", "10ms"]).ok();
    let data = "\u{1}é\n".repeat(60_000);
    let reason = "é".repeat(5_000);
    assert_eq!(left.request("POST", "/events/jobs/a?header=x:a%25b", &[], &data).status, 202);
    let next = right.request("POST", &format!("/consumers/{name}/next"), &[], "").json();
    let body = json!({"tokens": [next["delivery"]["token"]], "reason": reason}).to_string();
    let rejected = left.request("POST", &format!("/consumers/{name}/reject"), &[], body);
    assert_eq!(rejected.json(), json!({"deliveries": 1}));
    let letter = right.get(&format!("/consumers/{name}/dead")).json()[0].take();
    assert_eq!(letter["data"], data);
    let text = letter["text"].as_str().unwrap();
    assert!(reason.starts_with(text) && text.len() > 100, "{}", text.len());
    right.ctl(&["dead", "retry", name, "--all"]).ok();
    let again = left.request("POST", &format!("/consumers/{name}/next?wait=5s"), &[], "").json();
    let fields = |event: &Value| json!([event["id"], event["data"], event["headers"], event["time"], event["topic"]]);
    assert_eq!(fields(&again), fields(&next));
}
