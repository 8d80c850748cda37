//! Publish permissions and TTLs per topic, as configured by `[[topics]]`.

use std::os::unix::process::CommandExt;

use serde_json::{Value, json};
use sse_bus::protocol::{Ack, ErrorCode, Publish, Reply, Request};

use crate::{
    harness::{Daemon, Process, block_on, until},
    other_users::NOBODY,
    reload::reload,
};

/// A `[[topics]]` table.
fn table(filter: &str, publishers: &str) -> String {
    format!("[[topics]]\nmatch = \"{filter}\"\npublishers = {publishers}\n")
}

/// Returns whether a publish over HTTP is accepted. A refusal must be `denied`.
fn is_taken(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> bool {
    let response = daemon.request("POST", path, headers, "x");
    if response.status == 202 {
        return true;
    }
    assert_eq!(response.refusal(), (403, "denied".into()));
    false
}

#[test]
fn a_closed_topic_refuses_events_on_every_transport_with_the_reason() {
    let daemon = Daemon::configured(&table("closed/**", "[]"));
    let mut stream = daemon.stream("/events/**?client=tab");
    let mut said = Vec::new();

    let mut lines = daemon.lines();
    for more in [json!({}), json!({"retain": true}), json!({"to": "tab"}), json!({"ack": "none"})] {
        let mut publish = json!({"topic": "closed/a", "data": "x"});
        publish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = lines.ask(json!({ "publish": publish }).to_string());
        assert_eq!(reply["error"]["code"], "denied", "{reply}");
        said.push(reply["error"]["message"].as_str().unwrap().to_owned());
    }
    let mut frames = daemon.frames();
    for publish in [
        Publish::new("closed/a", "x"),
        Publish::new("closed", "").retained(),
        Publish::new("closed/b", "x").to_client("tab").with_ack(Ack::None),
    ] {
        let Reply::Error(refused) = frames.ask(&Request::Publish(publish)) else { panic!("it was accepted") };
        assert_eq!(refused.code, ErrorCode::Denied);
        said.push(refused.message);
    }
    for query in ["", "?retain=true", "?to=tab"] {
        let path = format!("/events/closed/a{query}");
        assert!(!is_taken(&daemon, &path, &[]));
        let response = daemon.request_locally("POST", &path, "x");
        assert_eq!(response.refusal(), (403, "denied".into()));
        said.push(response.json()["error"]["message"].as_str().unwrap().to_owned());
    }
    for args in [["publish", "closed/a", "x"].as_slice(), &["send", "tab", "x", "--topic", "closed/a"]] {
        let run = daemon.ctl(args).ends_with(6);
        said.push(run.stderr.clone());
    }
    let position = format!("{}:1:1", daemon.sandbox.path("config.toml").display());
    for message in said {
        for part in ["the topic `closed", "nobody", "`user`", "`publishers`", "[[topics]]", "`closed/**`", &position] {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
    }

    // In a batch, only the denied events are refused, each in order.
    lines.send_raw(["closed", "open", "closed/b"].map(|topic| line(topic) + "\n").concat());
    let replies = [lines.reply(), lines.reply(), lines.reply()];
    assert_eq!(replies.each_ref().map(|reply| reply["published"].is_object()), [false, true, false]);
    let run = daemon.ctl_fed(
        &["publish", "--jsonl"],
        b"{\"topic\":\"closed\",\"data\":\"x\"}\n{\"topic\":\"open\",\"data\":\"y\"}\n",
    );
    run.ends_with(6).says("closed");
    assert_eq!(stream.data(2), ["x", "y"], "no refused event was delivered");
}

fn line(topic: &str) -> String {
    json!({"publish": {"topic": topic, "data": "x"}}).to_string()
}

#[test]
fn a_topic_accepts_events_from_its_configured_publishers_only() {
    const PAGE: (&str, &str) = ("Origin", "http://localhost:3000");
    let tables = [
        ("user", "[\"user\"]"),
        ("page", "[\"origin:HTTP://LocalHost:3000\"]"),
        ("token", "[\"token:ci\"]"),
        ("both", "[\"token:ci\", \"user\"]"),
    ];
    let tables: String = tables.iter().map(|(topic, publishers)| table(topic, publishers)).collect();
    let origins = "allow_origin = [\"http://localhost:3000\", \"http://localhost:4000\"]\n";
    let daemon = Daemon::configured(&(origins.to_owned() + &tables));
    let token = |name: &str| {
        let made = daemon.ctl(&["token", "create", "--json", "--name", name, "--scope", "publish"]).ok();
        format!("Bearer {}", made.json()[0]["token"].as_str().unwrap())
    };
    let (ci, other) = (token("ci"), token("other"));
    let own_page = format!("http://{}", daemon.address);
    for (who, headers, [user, page, token, both, free]) in [
        ("the user", vec![], [true, false, false, true, true]),
        ("the daemon's own page", vec![("Origin", &*own_page)], [true, false, false, true, true]),
        ("the page", vec![PAGE], [false, true, false, false, true]),
        ("another page", vec![("Origin", "http://localhost:4000")], [false, false, false, false, true]),
        ("the page with a token", vec![PAGE, ("Authorization", &*ci)], [false, true, true, true, true]),
        ("the user with the token", vec![("Authorization", &*ci)], [true, false, true, true, true]),
        ("the user with another token", vec![("Authorization", &*other)], [true, false, false, true, true]),
    ] {
        let topics = [("user", user), ("page", page), ("token", token), ("both", both), ("free", free)];
        for (topic, expected) in topics {
            assert_eq!(is_taken(&daemon, &format!("/events/{topic}"), &headers), expected, "{who} to {topic}");
        }
    }
    // The local socket does not identify pages.
    assert_eq!(daemon.request_locally("POST", "/events/user", "x").status, 202);
    assert_eq!(daemon.request_locally("POST", "/events/page", "x").status, 403);
    daemon.ctl(&["publish", "user", "x"]).ok();
    daemon.ctl(&["publish", "token", "x"]).ends_with(6).says("`token:ci`").says("this one is from `user`");
}

#[test]
#[ignore = "needs root: acts as two users"]
fn a_topic_accepts_events_from_a_user_by_number() {
    let tables = table("user", "[\"user\"]") + &table("nobody", &format!("[\"uid:{NOBODY}\"]"));
    let daemon = Daemon::configured(&format!("allow_uid = [{NOBODY}]\n{tables}"));
    crate::other_users::open(&daemon.sandbox.path(""), 0o755);
    let as_nobody = |topic: &str| {
        let mut busctl = crate::other_users::copy(env!("CARGO_BIN_EXE_sse-busctl"), &daemon.sandbox);
        busctl.args(["publish", topic, "x", "--socket"]).arg(daemon.sandbox.socket()).uid(NOBODY).gid(NOBODY);
        Process::start(busctl).finish()
    };
    as_nobody("nobody").ok();
    as_nobody("free").ok();
    as_nobody("user").ends_with(6).says(&format!("this one is from `uid:{NOBODY}`"));
    daemon.ctl(&["publish", "nobody", "x"]).ends_with(6).says("this one is from `user`");
}

#[test]
fn reloaded_publish_permissions_apply_to_existing_connections() {
    let daemon = Daemon::configured("");
    let mut lines = daemon.lines();
    let mut ask = |taken: bool| {
        let reply = lines.ask(line("door"));
        assert_eq!(reply["published"].is_object(), taken, "{reply}");
    };
    ask(true);
    reload(&daemon, &table("door", "[]"), "read the configuration again");
    ask(false);
    reload(&daemon, &(table("door", "[\"user\"]") + &table("**", "[]")), "read the configuration again");
    // The first matching table applies.
    ask(true);
    reload(&daemon, &table("door", "[\"me\"]"), "`me` is not a publisher");
    // An invalid configuration changes nothing.
    ask(true);
}

#[test]
fn the_ttl_of_a_topic_applies_to_events_without_their_own() {
    let daemon = Daemon::configured("[[topics]]\nmatch = \"brief/*\"\nttl = \"150ms\"\n");
    let data = |filter: &str| -> Vec<Value> {
        let events = daemon.ctl(&["history", filter]).ok().json();
        events.into_iter().map(|event| event["data"].clone()).collect()
    };
    daemon.publish("brief/a", "http");
    daemon.publish("brief/own?ttl=1h", "longer");
    daemon.ctl(&["publish", "brief/b", "retained", "--retain"]).ok();
    daemon.publish("other", "other");
    until("the short-lived events expire", || (data("brief/*") == ["longer"]).then_some(()));
    assert_eq!(data("other"), ["other"]);
    daemon.ctl(&["subscribe", "brief/b", "--count", "1", "--timeout", "50ms"]).ends_with(5);
    // Also with frames.
    let endpoint = daemon.endpoint();
    block_on(async {
        let mut client = sse_bus::Client::connect(&endpoint).await.unwrap();
        client.publish(&Publish::new("brief/c", "binary")).await.unwrap();
    });
    until("that event expires, too", || (data("brief/*") == ["longer"]).then_some(()));
}
