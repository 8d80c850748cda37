//! The position of a stream: sent first, and again before history evicts it.

use crate::harness::{Daemon, EventStream};

const BROWSER: (&str, &str) = ("Sec-Fetch-Dest", "empty");

/// The lines of a stream's first block after `retry`, without the blank line that ends it.
fn first_block(stream: &mut EventStream) -> Vec<String> {
    assert!(stream.line().unwrap().unwrap().starts_with("retry: "));
    let lines = std::iter::from_fn(|| stream.line().unwrap());
    lines.take_while(|line| line != "\n").collect()
}

#[test]
fn each_client_receives_the_form_that_it_handles() {
    let daemon = Daemon::start(&[]);
    let id = daemon.publish("t", "x");
    let epoch = id.split_once('-').unwrap().0;
    let firefox = ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
    let (requests, httpx) = (("User-Agent", "python-requests/2.32.0"), ("User-Agent", "python-httpx/0.28.1"));
    for (query, headers, form) in [
        ("", &[][..], "id"),
        ("", &[requests], "id"),
        ("", &[httpx], "none"),
        ("", &[BROWSER], "event"),
        // For an untrustworthy address, browsers leave `Sec-Fetch-Dest` out.
        ("", &[firefox], "event"),
        ("?format=json", &[BROWSER], "event"),
        ("?position=id", &[BROWSER], "id"),
        ("?position=none", &[], "none"),
        ("?position=event", &[httpx], "event"),
    ] {
        let mut stream = daemon.stream_with(&format!("/events/t{query}"), headers);
        let block = match form {
            "none" => {
                daemon.publish("t", "the next");
                first_block(&mut stream)
            }
            _ => first_block(&mut stream),
        };
        let position = daemon.status()["position"].as_str().unwrap().to_owned();
        let client = daemon.get("/clients").json()[0]["id"].as_str().unwrap().to_owned();
        let what = format!("{query} {headers:?}: {block:?}");
        match form {
            "id" => assert_eq!(block, [format!("id: {position}\n")], "{what}"),
            "event" => {
                let data = format!(r#"data: {{"client":"{client}","position":"{position}"}}"#);
                let wanted = [format!("id: {position}\n"), "event: $position\n".into(), data + "\n"];
                assert_eq!(block, wanted, "{what}");
            }
            _ => assert!(block[0].starts_with(&format!("id: {epoch}-")) && block[1].starts_with("data: "), "{what}"),
        }
        drop(stream);
        daemon.wait_for_subscribers(0);
    }
    let refused = daemon.get("/events/t?position=never");
    assert_eq!(refused.refusal(), (400, "request_invalid".into()));
    assert!(refused.text().contains("event, id, none"), "{}", refused.text());
}

#[test]
fn a_stream_that_breaks_before_its_first_event_loses_nothing() {
    for (query, wanted) in
        [("?since=now", &["missed"][..]), ("", &["state", "missed"]), ("?since=latest", &["state", "missed"])]
    {
        let daemon = Daemon::start(&[]);
        daemon.publish("t?retain=true", "state");
        let path = format!("/events/t{query}");
        let block = first_block(&mut daemon.stream(&path));
        daemon.wait_for_subscribers(0);
        daemon.publish("t", "missed");
        let id = block[0].strip_prefix("id: ").unwrap().trim_end();
        let mut again = daemon.stream_with(&path, &[("Last-Event-ID", id)]);
        assert_eq!(again.data(wanted.len()), wanted, "{path}");
    }
}

/// A forgotten topic may have lost any event, so a client with an older id would receive a gap.
#[test]
fn a_subscriber_of_a_quiet_topic_gets_a_new_position_before_its_id_is_too_old() {
    let daemon = Daemon::configured("history_events = 2\nhistory_age = \"1s\"\n[limits]\ntopics = 8\n");
    let mut stream = daemon.stream("/events/quiet?heartbeat=1s");
    let first = first_block(&mut stream);
    for n in 0..40 {
        for m in 0..4 {
            daemon.publish(&format!("other/{}", n % 6), m.to_string());
        }
    }
    let later = loop {
        let line = stream.line().unwrap().unwrap();
        if let Some(id) = line.strip_prefix("id: ") {
            break id.trim_end().to_owned();
        }
        assert!(line == ":\n", "{line:?}");
    };
    assert_ne!(first, [format!("id: {later}\n")]);
    drop(stream);
    let mut again = daemon.stream_with("/events/quiet", &[("Last-Event-ID", &later)]);
    daemon.publish("quiet", "at last");
    let event = again.event();
    assert_eq!((event.kind, event.data.as_str()), (None, "at last"));
}

#[test]
fn a_stream_has_heartbeats_as_often_as_it_asks() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/t?heartbeat=1s&position=none");
    stream.line().unwrap();
    let began = std::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(stream.line().unwrap().unwrap(), ":\n");
    }
    // Five times the requested interval, and a third of three default intervals.
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    for wrong in ["0s", "61s", "1500ms", "4", "-1s", "x", ""] {
        let refused = daemon.get(&format!("/events/t?heartbeat={wrong}"));
        assert_eq!(refused.refusal(), (400, "request_invalid".into()), "{wrong}");
        assert!(refused.text().contains("from 1s to 60s"), "{}", refused.text());
    }
}
