//! Repeated publishes: by a `dedup_id`, and by the numbers of `publish --lines`.

use std::{sync::mpsc, thread, time::Duration};

use serde_json::{Value, json};
use sse_bus::{
    client::ResendingPublisher,
    protocol::{Ack, Publish},
};

use crate::{
    durable::FLAGS,
    harness::{Daemon, Lines, Sandbox, block_on},
    restart::Sockets,
};

fn publish(lines: &mut Lines, event: &Value) -> Value {
    lines.ask(json!({ "publish": event }).to_string())["published"].take()
}

fn data(daemon: &Daemon, filter: &str) -> Vec<String> {
    let events = daemon.ctl(&["history", filter]).ok().json();
    events.iter().map(|event| event["data"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_repeat_with_the_same_dedup_id_is_answered_with_the_first_id_in_all_ways_in() {
    let daemon = Daemon::start(&[]);
    let mut lines = daemon.lines();
    let first = publish(&mut lines, &json!({"topic": "t", "data": "1", "dedup_id": "a"}));
    assert!(first["id"].is_string() && first["duplicate"].is_null(), "{first}");
    let repeats = [
        publish(&mut lines, &json!({"topic": "t", "data": "2", "dedup_id": "a"})),
        daemon.request("POST", "/events/t?dedup_id=a", &[], "3").json(),
        daemon.request("POST", "/events", &[], r#"{"topic":"t","data":"4","dedup_id":"a"}"#).json()["published"].take(),
        daemon.ctl(&["publish", "t", "5", "--dedup-id", "a"]).ok().json().remove(0),
        daemon.ctl_fed(&["publish", "t", "--jsonl"], b"{\"data\":\"6\",\"dedup_id\":\"a\"}\n").ok().json().remove(0),
    ];
    for repeat in &repeats[..4] {
        assert_eq!((&repeat["id"], &repeat["duplicate"]), (&first["id"], &json!(true)), "{repeats:?}");
    }
    assert_eq!(repeats[4], json!({"accepted": 1, "refused": 0}));
    assert_eq!(data(&daemon, "t"), ["1"]);
    // Another topic, and another id.
    daemon.request("POST", "/events/u?dedup_id=a", &[], "7");
    daemon.request("POST", "/events/t?dedup_id=b", &[], "8");
    assert_eq!((data(&daemon, "t"), data(&daemon, "u")), (vec!["1".into(), "8".into()], vec!["7".into()]));
}

#[test]
fn a_repeated_event_for_one_client_reaches_it_once() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/t?client=ada");
    let to_ada = |data: &str| daemon.request("POST", "/events/t?to=ada&dedup_id=a", &[], data).json();
    assert_eq!(to_ada("1"), json!({"id": null, "subscribers": 1}));
    assert_eq!(to_ada("2"), json!({"id": null, "subscribers": 0, "duplicate": true}));
    daemon.ctl(&["publish", "t", "3", "--to", "ada", "--dedup-id", "a"]).ok();
    daemon.publish("t", "4");
    assert_eq!(stream.data(2), ["1", "4"]);
}

#[test]
fn a_repeated_number_publishes_nothing_and_a_refused_one_is_no_repeat() {
    let daemon = Daemon::start(&[]);
    let mut lines = daemon.lines();
    let mut number = |number: u64, topic: &str, data: &str| {
        let sequence = json!({"publisher": "0123456789abcdef", "number": number});
        lines.ask(json!({"publish": {"topic": topic, "data": data, "sequence": sequence}}).to_string())
    };
    let ids =
        [number(1, "t", "1"), number(2, "$no", "2"), number(3, "t", "3")].map(|mut reply| reply["published"].take());
    assert_eq!(ids[1], Value::Null, "refused");
    let again = number(3, "t", "3")["published"].take();
    assert_eq!((&again["id"], &again["duplicate"]), (&ids[2]["id"], &json!(true)));
    assert_eq!(number(1, "t", "1")["published"], json!({"id": null, "subscribers": 0, "duplicate": true}));
    assert!(number(2, "t", "2")["published"]["id"].is_string(), "it was refused before");
    assert!(number(2, "t", "2")["published"]["duplicate"] == true);
    assert_eq!(data(&daemon, "t"), ["1", "3", "2"]);
}

#[test]
fn an_unusable_dedup_id_or_number_is_refused() {
    let daemon = Daemon::start(&[]);
    let mut lines = daemon.lines();
    for fields in [
        json!({"dedup_id": ""}),
        json!({"dedup_id": "x".repeat(129)}),
        json!({"dedup_id": "a\nb"}),
        json!({"sequence": {"publisher": "0123456789abcdef", "number": 0}}),
        json!({"sequence": {"publisher": "0123", "number": 1}}),
    ] {
        let mut event = json!({"topic": "t", "data": "x"});
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let refused = lines.ask(json!({ "publish": event }).to_string());
        assert_eq!(refused["error"]["code"], "request_invalid", "{event}");
    }
}

#[test]
fn with_history_on_disk_a_repeat_is_recognized_after_a_crash() {
    let mut daemon = Daemon::start_at(Sandbox::new(), &FLAGS);
    let event = |data: &str| json!({"topic": "t", "data": data, "dedup_id": "a", "ack": "durable"});
    let first = publish(&mut daemon.lines(), &event("1"));
    for crashes in 1..=2 {
        daemon.kill();
        daemon.start_again();
        let repeat = publish(&mut daemon.lines(), &event("2"));
        assert_eq!((&repeat["id"], &repeat["duplicate"]), (&first["id"], &json!(true)), "after {crashes} crashes");
    }
    assert_eq!(data(&daemon, "t"), ["1"]);
}

#[test]
fn the_library_resends_through_crashes_and_publishes_nothing_twice() {
    let sandbox = Sandbox::new();
    let sockets = Sockets::inherited(&sandbox);
    let mut daemon = sockets.start(sandbox, "disk");
    let endpoint = daemon.endpoint();
    let (sender, receiver) = mpsc::channel();
    let publishing = thread::spawn(move || {
        block_on(async {
            let mut publisher = ResendingPublisher::connect(&endpoint, Duration::from_secs(30)).await.unwrap();
            let mut repeats = 0;
            for number in 0.. {
                let publish = Publish::new("t", number.to_string()).with_ack(Ack::Durable);
                repeats += u32::from(publisher.publish(publish).await.unwrap().duplicate);
                if sender.send(number).is_err() {
                    return (number + 1, repeats);
                }
            }
            unreachable!("the range is endless")
        })
    });
    for _ in 0..6 {
        receiver.iter().take(50).for_each(drop);
        daemon.kill();
        daemon.start_again_as(|command| sockets.give(command));
    }
    receiver.iter().take(50).for_each(drop);
    drop(receiver);
    let (published, repeats) = publishing.join().unwrap();
    eprintln!("{published} events, of which {repeats} were sent twice");
    let expected: Vec<String> = (0..published).map(|number: u32| number.to_string()).collect();
    assert_eq!(data(&daemon, "t"), expected);
}
