//! Where a stream begins: retained events, history, the last id; and its gaps.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Daemon, EventStream, until};

/// A daemon that keeps three events of each topic.
fn forgetful() -> Daemon {
    Daemon::start(&["--history-events", "3"])
}

/// Publishes numbers and returns the ids of the events.
fn publish_numbers(daemon: &Daemon, topic: &str, numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    let ids = numbers.map(|n| daemon.publish(topic, n.to_string()));
    std::iter::once(String::new()).chain(ids).collect()
}

/// Reads the next event, which must be a gap, and returns its id and data.
fn gap(stream: &mut EventStream) -> (String, Value) {
    let event = stream.event();
    assert_eq!(event.kind.as_deref(), Some("$gap"), "{event:?}");
    (event.id.clone(), event.json())
}

#[test]
fn by_default_a_stream_begins_with_retained_events() {
    let daemon = Daemon::start(&[]);
    daemon.publish("t/a?retain", "old a");
    daemon.publish("t/b?retain=true", "b");
    daemon.publish("t/a?retain=1", "a");
    daemon.publish("t/a?retain=false", "not retained");
    let mut stream = daemon.stream("/events/t/*");
    daemon.publish("t/a", "live");
    assert_eq!(stream.data(3), ["b", "a", "live"]);
}

#[test]
fn a_retained_event_outlives_history() {
    let daemon = forgetful();
    daemon.publish("t?retain", "kept");
    publish_numbers(&daemon, "t", 1..=5);
    assert_eq!(daemon.stream("/events/t").data(1), ["kept"]);
    assert_eq!(daemon.status()["retained"], 1);
}

#[test]
fn an_empty_retained_event_is_delivered_and_removes_the_stored_one() {
    let daemon = Daemon::start(&[]);
    daemon.publish("t?retain", "kept");
    let mut live = daemon.stream("/events/t?since=now");
    daemon.publish("t?retain", "");
    assert_eq!(live.event().data, "");
    assert_eq!(daemon.status()["retained"], 0);
    let mut stream = daemon.stream("/events/t");
    daemon.publish("t", "live");
    assert_eq!(stream.data(1), ["live"]);
}

#[test]
fn an_expired_event_is_neither_retained_nor_replayed() {
    let daemon = Daemon::start(&[]);
    daemon.publish("t?retain&ttl=1h", "long");
    daemon.publish("u?retain&ttl=300ms", "short");
    let mut early = daemon.stream("/events?since=all");
    assert_eq!(early.data(2), ["long", "short"]);
    until("the event has expired", || {
        let mut stream = daemon.stream("/events?since=all");
        daemon.publish("v", "end");
        stream.event();
        (stream.event().data != "short").then_some(())
    });
    let mut retained = daemon.stream("/events/*");
    daemon.publish("v", "live");
    assert_eq!(retained.data(2), ["long", "live"]);
}

#[test]
fn since_selects_where_a_stream_begins() {
    let daemon = Daemon::start(&[]);
    daemon.publish("a?retain", "retained");
    let ids = publish_numbers(&daemon, "a", 1..=3);
    daemon.publish("b", "other");
    let cases = [
        ("now".to_owned(), &["live"][..]),
        ("latest".to_owned(), &["3", "other", "live"]),
        ("all".to_owned(), &["retained", "1", "2", "3", "other", "live"]),
        ("1h".to_owned(), &["retained", "1", "2", "3", "other", "live"]),
        (ids[2].clone(), &["3", "other", "live"]),
    ];
    let mut streams: Vec<_> =
        cases.iter().map(|(since, wanted)| (since, wanted, daemon.stream(&format!("/events?since={since}")))).collect();
    daemon.publish("a", "live");
    for (since, wanted, stream) in &mut streams {
        assert_eq!(stream.data(wanted.len()), **wanted, "since={since}");
    }
}

#[test]
fn since_a_duration_skips_older_events() {
    let daemon = Daemon::start(&[]);
    daemon.publish("t", "old");
    let begin = std::time::Instant::now();
    // No wait for a side effect: the age of the event is what is tested.
    until("the event is old enough", || (begin.elapsed() > Duration::from_millis(1200)).then_some(()));
    daemon.publish("t", "new");
    assert_eq!(daemon.stream("/events/t?since=1s").data(1), ["new"]);
}

#[test]
fn an_invalid_start_is_refused_on_every_transport() {
    let daemon = Daemon::start(&[]);
    for since in ["yesterday", "10", "-1s", "", "NOW"] {
        let refusal = daemon.get(&format!("/events/t?since={since}")).refusal();
        assert_eq!(refusal, (400, "since_invalid".into()), "since={since}");
        let line = json!({"subscribe": {"filters": ["t"], "since": since}});
        assert_eq!(daemon.lines().ask(line.to_string())["error"]["code"], "since_invalid", "{since}");
    }
}

#[test]
fn a_reconnecting_browser_receives_exactly_the_events_since() {
    let daemon = Daemon::start(&[]);
    let ids = publish_numbers(&daemon, "t", 1..=5);
    let id = ids[2].as_str();
    let mut streams = vec![daemon.stream_with("/events/t", &[("Last-Event-ID", id)])];
    for name in ["last_event_id", "lastEventId", "Last-Event-ID"] {
        streams.push(daemon.stream(&format!("/events/t?{name}={id}")));
    }
    // The header overrides the query, since it is newer. An empty one is ignored.
    let path = format!("/events/t?since=now&last_event_id={}", ids[4]);
    streams.push(daemon.stream_with(&path, &[("last-event-id", id)]));
    let path = format!("/events/t?last_event_id={id}");
    streams.push(daemon.stream_with(&path, &[("Last-Event-ID", "")]));
    daemon.publish("t", "live");
    for stream in &mut streams {
        assert_eq!(stream.data(4), ["3", "4", "5", "live"]);
    }
}

#[test]
fn evicted_events_are_reported_as_a_gap() {
    let daemon = forgetful();
    let ids = publish_numbers(&daemon, "t", 1..=10);
    let mut stream = daemon.stream_with("/events/t", &[("Last-Event-ID", &ids[2])]);
    let (id, data) = gap(&mut stream);
    assert_eq!(id, ids[7], "a reconnect resumes after the gap");
    assert_eq!(data, json!({"reason": "evicted", "missed": 5, "from": ids[3], "to": ids[7]}));
    assert_eq!(stream.data(3), ["8", "9", "10"]);
    let mut behind = daemon.stream_with("/events/t", &[("Last-Event-ID", &ids[7])]);
    assert_eq!(behind.data(3), ["8", "9", "10"]);
    assert!(daemon.metric("sse_bus_gaps_total{reason=\"evicted\"}") >= 1.0);
}

#[test]
fn a_gap_looks_the_same_in_every_format() {
    let daemon = forgetful();
    let ids = publish_numbers(&daemon, "t", 1..=5);
    let mut raw = daemon.stream(&format!("/events/t?since={}&position=none", ids[1]));
    raw.line().unwrap();
    let text = format!(r#"{{"reason":"evicted","missed":1,"from":"{0}","to":"{0}"}}"#, ids[2]);
    for wanted in [format!("id: {}\n", ids[2]), "event: $gap\n".into(), format!("data: {text}\n"), "\n".into()] {
        assert_eq!(raw.line().unwrap().unwrap(), wanted);
    }
    let mut envelope = daemon.stream(&format!("/events/t?format=json&since={}", ids[1]));
    assert_eq!(gap(&mut envelope), (ids[2].clone(), serde_json::from_str(&text).unwrap()));
    let mut lines = daemon.lines();
    lines.ask(json!({"subscribe": {"filters": ["t"], "since": ids[1]}}).to_string());
    let event = lines.event();
    assert_eq!((&event["id"], &event["topic"]), (&json!(ids[2]), &json!("$gap")));
    assert_eq!((&event["type"], &event["data"]), (&json!("$gap"), &json!(text)));
}

#[test]
fn an_id_of_an_earlier_daemon_is_a_restarted_gap_followed_by_all_history() {
    let mut daemon = Daemon::start(&[]);
    let before = daemon.publish("t", "before");
    daemon.kill();
    daemon.start_again();
    daemon.publish("u", "other");
    let first = daemon.publish("t", "after");
    let mut stream = daemon.stream_with("/events/t", &[("Last-Event-ID", &before)]);
    let (id, data) = gap(&mut stream);
    let (epoch, _) = first.split_once('-').unwrap();
    assert_ne!(before.split_once('-').unwrap().0, epoch);
    assert_eq!(id, format!("{epoch}-0"));
    assert_eq!(data, json!({"reason": "restarted", "missed": null, "from": before, "to": id}));
    assert_eq!(stream.event().id, first);
    assert!(daemon.metric("sse_bus_gaps_total{reason=\"restarted\"}") >= 1.0);
}

#[test]
fn an_id_that_never_existed_is_an_unknown_id_gap_followed_by_all_history() {
    let daemon = Daemon::start(&[]);
    let first = daemon.publish("t", "1");
    let epoch = first.split_once('-').unwrap().0;
    let (start, future) = (format!("{epoch}-0"), format!("{epoch}-999999"));
    for (last_id, from) in [(future.as_str(), future.as_str()), ("nonsense", &start), ("ünï", &start), ("-7", &start)]
    {
        let mut stream = daemon.stream_with("/events/t", &[("Last-Event-ID", last_id)]);
        let (id, data) = gap(&mut stream);
        assert_eq!(id, start, "{last_id}");
        assert_eq!(data, json!({"reason": "unknown_id", "missed": null, "from": from, "to": start}), "{last_id}");
        assert_eq!(stream.data(1), ["1"]);
    }
}

#[test]
fn a_read_of_history_ends_with_the_position_to_resume_from() {
    let daemon = Daemon::start(&[]);
    let ids = publish_numbers(&daemon, "t", 1..=2);
    let mut lines = daemon.lines();
    lines.ask(r#"{"subscribe":{"filters":["t"],"since":"all","past_only":true}}"#);
    assert_eq!([lines.event(), lines.event()].map(|event| event["data"].clone()), ["1", "2"]);
    let position = lines.reply()["end"]["position"].as_str().unwrap().to_owned();
    // The connection stays open; it is no subscriber any more.
    assert!(lines.ask(r#"{"publish":{"topic":"t","data":"3"}}"#)["published"].is_object());
    assert_eq!(position, ids[2]);
    let mut stream = daemon.stream(&format!("/events/t?since={position}"));
    assert_eq!(stream.data(1), ["3"]);
}

#[test]
fn history_is_bounded_by_bytes_and_age_too() {
    let daemon = Daemon::start(&["--history-bytes", "2KiB", "--history-age", "1s"]);
    for n in 0..20 {
        daemon.publish("t", format!("{n:0>500}"));
    }
    let topics = daemon.get("/topics").json();
    let topic = topics.as_array().unwrap().iter().find(|topic| topic["topic"] == "t").unwrap();
    assert!(topic["bytes"].as_u64().unwrap() <= 2048 && topic["events"].as_u64().unwrap() < 4, "{topic}");
    until("age has emptied history", || (daemon.status()["history_events"] == 0).then_some(()));
}

#[test]
fn a_stream_of_history_ends_where_live_events_would_begin() {
    let daemon = forgetful();
    let ids = publish_numbers(&daemon, "t", 1..=3);
    // The last event shows that the stream is complete, and from where to resume.
    let rest = |path: &str| {
        let mut stream = daemon.stream(path);
        let mut events: Vec<_> = std::iter::from_fn(move || stream.next().unwrap()).collect();
        let end = events.pop().unwrap();
        assert_eq!(end.kind.as_deref(), Some("$end"), "{end:?}");
        daemon.publish("t", "later");
        let mut live = daemon.stream(&format!("/events/t?last_event_id={}", end.id));
        assert_eq!(live.data(1), ["later"], "{end:?}");
        events.into_iter().map(|event| event.data).collect::<Vec<_>>()
    };
    assert_eq!(rest(&format!("/events/t?past_only&last_event_id={}", ids[2])), ["3"]);
    assert_eq!(rest("/events/t?since=all&past_only=true"), ["2", "3", "later"]);
    assert!(rest("/events/t?past_only=1").is_empty(), "nothing is retained");
    assert_eq!(daemon.get("/events/t?past_only=maybe").refusal(), (400, "request_invalid".into()));
}
