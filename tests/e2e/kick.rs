//! `kick`, and `kick --for`, which keeps a client out for a while.

use serde_json::json;

use crate::{
    harness::{Daemon, EventStream, Process, Sandbox, until},
    remote::url,
};

#[test]
fn a_browser_that_is_kept_out_is_answered_so_that_it_tries_again() {
    let daemon = Daemon::start(&[]);
    let mut tab = daemon.stream("/events/t?client=tab");
    let _other = daemon.stream("/events/t?client=other");
    let answer = daemon.request("DELETE", "/clients/tab?for=1m", &[], "");
    assert_eq!((answer.status, answer.json()), (200, json!({"connections": 1})));
    tab.ends();
    let again = daemon.get("/events/t?client=tab");
    assert_eq!((again.status, again.header("content-type")), (200, Some("text/event-stream; charset=utf-8")));
    let text = again.text();
    let (comment, rest) = text.split_once('\n').unwrap();
    assert!(comment.starts_with(": {") && comment.contains("\"kept_out\"") && comment.contains("for 1m"), "{text}");
    assert!(rest.starts_with("retry: ") && rest.lines().count() == 1, "{text}");
    assert_eq!(daemon.status()["kept_out"][0]["client"], "tab");
    assert_eq!(daemon.status()["subscribers"], 1);
    // Others connect, with and without a name.
    drop((daemon.stream("/events/t?client=new"), daemon.stream("/events/t")));
    assert_eq!(daemon.request("DELETE", "/clients/tab?for=0s", &[], "").json(), json!({"connections": 0}));
    daemon.stream("/events/t?client=tab");
    assert_eq!(daemon.status()["kept_out"], json!([]));
}

#[test]
fn a_subscriber_that_is_kept_out_tries_until_it_is_let_in() {
    let daemon = Daemon::start(&[]);
    let address = url(&daemon);
    for before in [&[][..], &["--url", &address]] {
        let subscribe = |more: &[&str]| {
            daemon.spawn_ctl(&[before, &["subscribe", "t", "--format", "data", "--client", "reader"], more].concat())
        };
        let mut reader = subscribe(&[]);
        daemon.wait_for_subscribers(1);
        let id = daemon.get("/clients").json()[0]["id"].as_str().unwrap().to_owned();
        let run = daemon.ctl(&[before, &["kick", &id, "--for", "1h"]].concat()).ok();
        assert_eq!(run.json(), [json!({"client": id, "connections": 1})]);
        reader.stderr.wait_for("reconnecting");
        subscribe(&[]).finish().ends_with(6).says("kept_out").says("for 1h");
        daemon.ctl(&["subscribe", "t", "--client", "other", "--timeout", "0s"]).ends_with(5);
        // The time can be changed while it is not connected.
        daemon.ctl(&[before, &["kick", "reader", "--for", "2h"]].concat()).ok();
        daemon.publish("t", "missed");
        daemon.ctl(&[before, &["kick", "reader", "--for", "0s"]].concat()).ok();
        assert_eq!(reader.line(), "missed");
        drop(reader);
        daemon.wait_for_subscribers(0);
    }
}

#[test]
fn a_client_without_a_name_is_recognized_by_its_token_or_process() {
    let (daemon, tokens) = Daemon::exposed(&["--allow-host", "127.0.0.1"]);
    let mut lines = daemon.lines();
    lines.ask(r#"{"subscribe":{"filters":["t"]}}"#);
    let id = |daemon: &Daemon| daemon.request_locally("GET", "/clients", "").json()[0]["id"].clone();
    let mut other = daemon.lines();
    let reply = other.ask(json!({"kick": {"client": id(&daemon), "for_ms": 60_000}}).to_string());
    assert_eq!(reply, json!({"kicked": {"connections": 1}}));
    // This process.
    let refused = daemon.lines().ask(r#"{"subscribe":{"filters":["t"]}}"#);
    assert_eq!(refused["error"]["code"], "kept_out", "{refused}");
    let refused = daemon.lines().ask(r#"{"publish":{"topic":"t","data":"x"}}"#);
    assert_eq!(refused["error"]["code"], "kept_out", "{refused}");
    daemon.ctl(&["publish", "t", "from another process"]).ok();

    let bearer = crate::harness::bearer(&tokens.all);
    let mut stream = daemon.stream_with("/events/t", &[("Authorization", &bearer)]);
    let client = id(&daemon);
    let kicked = daemon.ctl(&["kick", client.as_str().unwrap(), "--for", "1m"]).ok();
    assert_eq!(kicked.json()[0]["connections"], 1);
    stream.ends();
    let again = daemon.request("GET", "/events/t", &[("Authorization", &bearer)], "");
    assert!(again.text().contains("\"kept_out\""), "{}", again.text());
    let bearer = crate::harness::bearer(&tokens.subscribe);
    daemon.stream_with("/events/t", &[("Authorization", &bearer)]);
    assert_eq!(daemon.request_locally("GET", "/status", "").json()["kept_out"].as_array().unwrap().len(), 2);
}

#[test]
fn all_connections_of_a_token_or_a_process_end() {
    let (daemon, tokens) = Daemon::exposed(&["--allow-host", "127.0.0.1"]);
    let clients = || daemon.request_locally("GET", "/clients", "").json();
    let connect =
        |token: &str, path: &str| daemon.stream_with(path, &[("Authorization", &crate::harness::bearer(token))]);
    let mut kicked = [connect(&tokens.all, "/events/t"), connect(&tokens.all, "/events/t?client=tab")];
    let mut other = connect(&tokens.subscribe, "/events/t");
    let client = clients()[0]["id"].clone();
    let run = daemon.ctl(&["kick", client.as_str().unwrap(), "--for", "1m"]).ok();
    assert_eq!(run.json()[0]["connections"], 2);
    kicked.iter_mut().for_each(EventStream::ends);

    // This process.
    let mut lines = [daemon.lines(), daemon.lines()];
    for lines in &mut lines {
        lines.ask(r#"{"subscribe":{"filters":["t"]}}"#);
    }
    let client = clients().as_array().unwrap().iter().find(|client| client["via"] == "json").unwrap()["id"].clone();
    let run = daemon.ctl(&["kick", client.as_str().unwrap(), "--for", "1m"]).ok();
    assert_eq!(run.json()[0]["connections"], 2);
    for lines in &mut lines {
        assert_eq!(lines.next(), None);
    }
    daemon.ctl(&["publish", "t", "x"]).ok();
    assert_eq!(other.event().data, "x");
}

#[test]
fn a_client_that_cannot_be_recognized_stays_connected() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/t");
    let run = daemon.ctl(&["kick", "c1", "--for", "1m"]).ends_with(2);
    run.says("no name, token or process");
    daemon.publish("t", "x");
    assert_eq!(stream.event().data, "x");
    daemon.ctl(&["kick", "nobody", "--for", "1m"]).ends_with(4);
    daemon.ctl(&["kick", "nobody", "--for", "soon"]).ends_with(2);
    for query in ["for=soon", "for", "for=-1m"] {
        let answer = daemon.request("DELETE", &format!("/clients/c1?{query}"), &[], "");
        assert_eq!(answer.refusal(), (400, "request_invalid".into()), "{query}");
    }
    let _named = daemon.stream("/events/t?client=tab");
    let answer = daemon.request("DELETE", "/clients/tab?for=25h", &[], "");
    assert_eq!(answer.refusal(), (400, "request_invalid".into()));
}

#[test]
fn a_kick_says_that_the_client_will_reconnect() {
    let daemon = Daemon::start(&[]);
    let subscriber = daemon.spawn_ctl(&["subscribe", "t", "--client", "reader"]);
    daemon.wait_for_subscribers(1);
    daemon.ctl(&["kick", "reader"]).ok().says("--for 1m");
    subscriber.stderr.wait_for("reconnected");
    until("it has reconnected", || (daemon.status()["subscribers"] == 1).then_some(()));
    let mut publisher = daemon.lines();
    publisher.ask(r#"{"publish":{"topic":"t","data":"x"}}"#);
    let clients = daemon.get("/clients").json();
    let id = clients.as_array().unwrap().iter().find(|client| client["role"] == "publisher").unwrap()["id"].clone();
    assert_eq!(daemon.ctl(&["kick", id.as_str().unwrap()]).ok().stderr, "");
}

#[test]
fn an_invalid_duration_is_answered_with_examples() {
    let sandbox = Sandbox::new();
    for args in [
        &["kick", "x", "--for", "never"][..],
        &["subscribe", "--timeout", "10"],
        &["publish", "t", "x", "--ttl", "soon"],
        &["publish", "t", "--exec", "date", "--every", "1x"],
    ] {
        let run = Process::start(sandbox.busctl(args)).finish();
        run.ends_with(2).says("write a number with a unit, such as `30s`, `5m` or `1h30m`");
    }
}
