//! Presence and administration: joins and leaves, lists, kicks, unicast, metrics.

use std::io::Read;

use serde_json::{Value, json};
use sse_bus::protocol::{Publish, Reply, Request, binary::Version};

use crate::harness::{Daemon, Process, until};

#[test]
fn joins_and_leaves_are_events_with_the_client_in_them() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.stream("/events/$sys/clients?since=now");
    let tab = daemon.stream("/events/a/*?client=tab%201&topic=b");
    let joined = clients.event();
    assert_eq!(joined.kind.as_deref(), Some("join"));
    let described = joined.json();
    assert_eq!(described["name"], "tab 1");
    assert_eq!((&described["role"], &described["via"]), (&json!("subscriber"), &json!("sse")));
    assert_eq!(described["filters"], json!(["a/*", "b"]));
    assert!(described["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{described}");
    drop(tab);
    let left = clients.event();
    assert_eq!((left.kind.as_deref(), &left.json()["id"]), (Some("leave"), &described["id"]));

    let mut publisher = daemon.lines();
    publisher.ask(r#"{"publish":{"topic":"t","data":"x"}}"#);
    let described = clients.event().json();
    assert_eq!((&described["role"], &described["via"]), (&json!("publisher"), &json!("json")));
    assert!(described["peer"].as_str().unwrap().contains(&format!("pid {}", std::process::id())), "{described}");
    drop(publisher);
    assert_eq!(clients.event().kind.as_deref(), Some("leave"));
    // All of it was live only.
    assert_eq!(daemon.ctl(&["history", "$sys/**"]).ok().stdout, "");
    let status = daemon.status();
    assert_eq!((&status["published"], &status["history_events"], &status["topics"]), (&json!(1), &json!(1), &json!(1)));
}

#[test]
fn what_is_live_only_has_no_id_so_that_a_client_resumes_from_the_log() {
    let daemon = Daemon::start(&[]);
    let mut data = daemon.stream("/events?topic=t&topic=$sys/clients&client=me&since=now");
    let mut envelope = daemon.stream("/events?topic=t&topic=$sys/clients&since=now&format=json");
    assert_eq!(data.event().kind.as_deref(), Some("join"));
    let id = daemon.publish("t", "x");
    assert_eq!((data.event().id, envelope.event().id), (id.clone(), id.clone()));
    drop(daemon.stream("/events/other"));
    let (join, leave) = (data.event(), data.event());
    assert_eq!((join.kind.as_deref(), leave.kind.as_deref()), (Some("join"), Some("leave")));
    // Without an `id` line a browser keeps the id that it has.
    assert_eq!((&*join.id, &*leave.id), ("", ""));
    let join = envelope.event().json();
    assert_eq!((&join["topic"], &join["id"]), (&json!("$sys/clients"), &Value::Null));
    let response = daemon.request("POST", "/events/t?to=me", &[], "for one").json();
    assert_eq!(response, json!({ "id": null, "subscribers": 1 }));
    let own = data.event();
    assert_eq!((&*own.data, &*own.id), ("for one", ""));

    // A client of version 1 has the position there.
    let mut old = daemon.frames_of(Version::V1);
    let Reply::Published(published) = old.ask(&Request::Publish(Publish::new("t", "x").to_client("me"))) else {
        panic!("it is not published")
    };
    assert_eq!((published.id.unwrap().to_string(), published.subscribers), (id, 1));
}

#[test]
fn a_client_is_listed_with_the_number_of_its_gaps() {
    let daemon = Daemon::start(&["--history-events", "1"]);
    let first = daemon.publish("t", "a");
    daemon.publish("t", "b");
    daemon.publish("t", "c");
    let mut whole = daemon.stream("/events/t?client=whole&since=all");
    let mut back = daemon.stream(&format!("/events/t?client=back&last_event_id={first}"));
    assert_eq!((whole.event().data, back.event().kind), ("c".into(), Some("$gap".into())));
    assert_eq!(back.event().data, "c");
    let clients = daemon.get("/clients").json();
    let gaps =
        |name: &str| clients.as_array().unwrap().iter().find(|client| client["name"] == name).unwrap()["gaps"].clone();
    assert_eq!((gaps("back"), gaps("whole")), (json!(1), json!(0)), "{clients}");
}

#[test]
fn the_status_shows_the_usage_of_each_limit() {
    let daemon = Daemon::start(&[]);
    let _stream = daemon.stream("/events/a/**");
    daemon.publish("a/b?retain", "x");
    daemon.publish("c", "x");
    let limits = daemon.status()["limits"].clone();
    let of = |name: &str| {
        let found = limits.as_array().unwrap().iter().find(|limit| limit["limit"] == name);
        found.map(|limit| (limit["used"].as_u64().unwrap(), limit["bound"].as_u64().unwrap())).unwrap()
    };
    assert_eq!(of("subscribers"), (1, 50_000));
    assert_eq!(of("topics"), (2, 100_000), "a/b and c");
    assert_eq!(of("publishers"), (0, 10_000));
    assert!(of("retained_bytes").0 > 0 && of("filters_bytes").0 > 0, "{limits}");
}

#[test]
fn a_publisher_is_listed_with_the_topics_that_it_published_to_last() {
    let daemon = Daemon::start(&[]);
    let mut lines = daemon.lines();
    assert_eq!(daemon.get("/clients").json(), json!([]), "it has published nothing");
    for n in 0..10 {
        lines.ask(json!({ "publish": { "topic": format!("t/{n}"), "data": "x" } }).to_string());
    }
    lines.ask(r#"{"publish":{"topic":"t/5","data":"x"}}"#);
    lines.ask(r#"{"publish":{"topic":"direct","data":"x","to":"nobody"}}"#);
    lines.ask(r#"{"publish":{"topic":"t//bad","data":"x"}}"#);
    let clients = daemon.get("/clients").json();
    assert_eq!(
        clients[0]["published_to"],
        json!(["t/5", "t/9", "t/8", "t/7", "t/6", "t/4", "t/3", "t/2"]),
        "{clients}"
    );
    assert_eq!(lines.ask(r#"{"clients":{}}"#)["clients"], clients);
    // The types of the binary protocol are frozen.
    let printed = daemon.ctl(&["clients"]).ok().json();
    assert_eq!((printed.len(), &printed[0]["events"]), (1, &json!(12)), "{printed:?}");
    let _stream = daemon.stream("/events/t/**");
    let subscriber = daemon.get("/clients").json().as_array().unwrap().last().unwrap().clone();
    assert_eq!(subscriber["role"], "subscriber");
    assert!(subscriber.get("published_to").is_none(), "{subscriber}");
}

#[test]
fn lists_and_the_status_are_equal_on_every_transport() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/t/**?client=me");
    daemon.publish("t/a?retain", "12345");
    daemon.publish("t/a", "x");
    // Once these are delivered, nothing changes any more.
    stream.data(2);
    let mut lines = daemon.lines();
    let mut frames = daemon.frames();

    let clients = daemon.get("/clients").json();
    assert_eq!(clients.as_array().unwrap().len(), 1);
    assert_eq!((&clients[0]["name"], &clients[0]["filters"]), (&json!("me"), &json!(["t/**"])));
    assert_eq!(daemon.request_locally("GET", "/clients", "").json(), clients);
    assert_eq!(lines.ask(r#"{"clients":{}}"#)["clients"], clients);
    let Reply::Clients(binary) = frames.ask(&Request::Clients {}) else { panic!() };
    assert_eq!(serde_json::to_value(binary).unwrap(), clients);
    assert_eq!(daemon.ctl(&["clients"]).ok().json(), *clients.as_array().unwrap());

    let topics = daemon.get("/topics").json();
    let topic = topics.as_array().unwrap().iter().find(|topic| topic["topic"] == "t/a").unwrap();
    for (name, value) in
        [("published", json!(2)), ("events", json!(2)), ("retained", json!(true)), ("subscribers", json!(1))]
    {
        assert_eq!(topic[name], value, "{name} of {topic}");
    }
    assert_eq!(lines.ask(r#"{"topics":{}}"#)["topics"], topics);
    assert_eq!(daemon.ctl(&["topics", "--json"]).ok().json(), *topics.as_array().unwrap());

    // Time passes between two replies.
    let timeless = |mut status: Value| {
        status.as_object_mut().unwrap().remove("uptime_ms").unwrap();
        status
    };
    let status = timeless(daemon.status());
    assert_eq!((&status["pid"], &status["subscribers"]), (&json!(daemon.pid()), &json!(1)));
    assert_eq!(status["url"], format!("http://{}", daemon.address));
    assert_eq!(status["history"], "memory");
    assert_eq!(timeless(lines.ask(r#"{"status":{}}"#)["status"].take()), status);
    let Reply::Status(binary) = frames.ask(&Request::Status {}) else { panic!() };
    assert_eq!(timeless(serde_json::to_value(binary).unwrap()), status);
    assert_eq!(timeless(daemon.ctl(&["status"]).ok().json().remove(0)), status);
}

#[test]
fn a_kick_by_name_or_id_ends_streams_and_publishers_alike() {
    let daemon = Daemon::start(&[]);
    let mut tabs = [daemon.stream("/events/t?client=tab"), daemon.stream("/events/t?client=tab")];
    assert_eq!(daemon.request("DELETE", "/clients/tab", &[], "").json(), json!({"connections": 2}));
    tabs.iter_mut().for_each(crate::harness::EventStream::ends);

    let mut publisher = daemon.lines();
    publisher.ask(r#"{"publish":{"topic":"t","data":"x"}}"#);
    let id = daemon.get("/clients").json()[0]["id"].as_str().unwrap().to_owned();
    let reply = daemon.lines().ask(json!({"kick": {"client": id}}).to_string());
    assert_eq!(reply, json!({"kicked": {"connections": 1}}));
    assert!(publisher.next().is_none());

    let mut subscriber = daemon.lines();
    subscriber.ask(r#"{"subscribe":{"filters":["t"],"client":"nc"}}"#);
    assert_eq!(daemon.ctl(&["kick", "nc"]).ok().json(), [json!({"client": "nc", "connections": 1})]);
    assert!(subscriber.next().is_none());

    assert_eq!(daemon.request("DELETE", "/clients/tab", &[], "").refusal(), (404, "client_unknown".into()));
    daemon.ctl(&["kick", "tab"]).ends_with(4).says("no client named `tab`");
    assert_eq!(daemon.status()["subscribers"], 0);
}

#[test]
fn unicast_reaches_one_client_and_counts_its_connections() {
    let daemon = Daemon::start(&[]);
    let mut one = daemon.stream("/events/t?client=one");
    let mut two = [daemon.stream("/events/t?client=two"), daemon.stream("/events/u?client=two&format=json")];
    let to = |client: &str| daemon.request("POST", &format!("/events/private?to={client}"), &[], "psst").json();
    assert_eq!(to("two")["subscribers"], 2);
    assert_eq!(to("nobody")["subscribers"], 0);
    let id = daemon.get("/clients").json()[0]["id"].as_str().unwrap().to_owned();
    let publish = Publish::new("private", "by id").to_client(id);
    let Reply::Published(published) = daemon.frames().ask(&Request::Publish(publish)) else { panic!() };
    assert_eq!((published.id, published.subscribers), (None, 1));
    daemon.publish("t", "for all");

    assert_eq!(one.data(1), ["by id"]);
    assert_eq!(one.data(1), ["for all"]);
    assert_eq!(two[0].data(2), ["psst", "for all"]);
    assert_eq!(two[1].event().json()["topic"], "private");
    // Live only: not in history.
    let mut past = daemon.stream("/events/**?since=all");
    assert_eq!(past.data(1), ["for all"]);
}

#[test]
fn the_command_line_sends_to_one_client_or_exits_with_4() {
    let daemon = Daemon::start(&[]);
    let mut one = daemon.stream("/events/t?client=one");
    daemon.ctl(&["send", "one", "hello", "--type", "note"]).ok();
    daemon.ctl_fed(&["send", "one", "--topic", "private"], b"from stdin\n").ok();
    daemon.ctl(&["publish", "t", "x", "--to", "one"]).ok();
    let first = one.event();
    assert_eq!((first.kind.as_deref(), first.data.as_str()), (Some("note"), "hello"));
    assert_eq!(one.data(2), ["from stdin", "x"]);
    daemon.ctl(&["send", "two", "x"]).ends_with(4).says("no client named `two`");
    daemon.ctl(&["publish", "t", "x", "--to", "two"]).ends_with(4).says("no client named `two`");
}

#[test]
fn a_disconnect_is_noticed_at_once() {
    let daemon = Daemon::start(&[]);
    let curl = daemon.spawn_curl("/events/t?client=curl");
    let mut socat = daemon.sandbox.command("curl");
    socat.args(["-sSN", "--unix-socket"]).arg(daemon.sandbox.socket()).arg("http://bus/events/t");
    let local = Process::start(socat);
    let mut lines = daemon.lines();
    lines.ask(r#"{"subscribe":{"filters":["t"]}}"#);
    lines.close_sending();
    daemon.wait_for_subscribers(3);
    drop((curl, local, lines));
    daemon.wait_for_subscribers(0);
}

#[test]
fn metrics_count_events_clients_and_bytes() {
    let daemon = Daemon::start(&[]);
    let mut stream = daemon.stream("/events/t");
    let mut lines = daemon.lines();
    lines.ask(r#"{"publish":{"topic":"t","data":"12345"}}"#);
    lines.ask(r#"{"publish":{"topic":"t","data":"12345","retain":true}}"#);
    stream.data(2);
    daemon.request("POST", "/events/a%20b", &[], "x");

    let response = daemon.get("/metrics");
    assert!(response.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(response.text().ends_with("# EOF\n"));
    for (name, value) in [
        ("sse_bus_events_published_total", 2.0),
        ("sse_bus_events_delivered_total", 2.0),
        ("sse_bus_subscribers", 1.0),
        ("sse_bus_publishers", 1.0),
        ("sse_bus_topics", 1.0),
        ("sse_bus_history_events", 2.0),
        ("sse_bus_retained_events", 1.0),
        ("sse_bus_slow_disconnects_total", 0.0),
        ("sse_bus_gaps_total{reason=\"evicted\"}", 0.0),
        ("sse_bus_publish_seconds_count", 2.0),
    ] {
        assert!((daemon.metric(name) - value).abs() < 0.1, "{name} is not {value} in\n{}", response.text());
    }
    for name in ["sse_bus_published_bytes_total", "sse_bus_delivered_bytes_total", "sse_bus_history_bytes"] {
        assert!(daemon.metric(name) >= 10.0, "{name}");
    }
    // Since the last scrape, the request of which counts as well.
    let hold = daemon.metric("sse_bus_lock_hold_seconds");
    assert!(hold > 0.0 && hold < 10.0, "{hold}");
    drop(stream);
    until("the subscriber has disconnected", || (daemon.metric("sse_bus_subscribers") < 0.5).then_some(()));
}

#[test]
fn health_is_reported_in_one_word() {
    let daemon = Daemon::start(&[]);
    let response = daemon.get("/healthz");
    assert_eq!((response.status, response.text().as_str()), (200, "ok\n"));
    let mut text = String::new();
    let mut socket = daemon.tcp();
    std::io::Write::write_all(&mut socket, b"GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n").unwrap();
    socket.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.0 421"), "the guards come first: {text}");
}

#[test]
fn a_client_that_does_not_read_can_be_kicked() {
    let daemon = Daemon::start(&[]);
    let _streams = [daemon.stream("/events/t?client=stuck")];
    let mut lines = daemon.lines();
    lines.ask(r#"{"subscribe":{"filters":["t"],"client":"stuck"}}"#);
    for _ in 0..120 {
        daemon.publish("t", "x".repeat(50_000));
    }
    daemon.ctl(&["kick", "stuck"]).ok();
    until("both connections are closed", || {
        (daemon.log().matches("subscriber disconnected").count() == 2).then_some(())
    });
}

#[test]
fn a_name_in_the_form_of_an_id_is_refused() {
    let daemon = Daemon::start(&[]);
    let refused = daemon.get("/events/t?client=c1");
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("`c1` looks like the id of a client"), "{}", refused.text());
    daemon.ctl(&["subscribe", "t", "--client", "c12"]).ends_with(2).says("looks like the id");
    // Exactly in that form, and no other.
    for name in ["c01", "C1", "c", "c1x"] {
        drop(daemon.stream(&format!("/events/t?client={name}")));
    }
}
