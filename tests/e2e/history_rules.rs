//! History rules: bounds for the topics that a filter matches.

use std::fs;

use rustix::process::Signal;

use crate::{
    harness::{Daemon, Process, Sandbox, until},
    reload::reload,
};

/// The data of the events that history has for a filter.
fn history(daemon: &Daemon, filter: &str) -> Vec<String> {
    let events = daemon.ctl(&["history", filter]).ok().json();
    events.iter().map(|event| event["data"].as_str().unwrap().to_owned()).collect()
}

/// Publishes the numbers from 0 to each of some topics.
fn publish(daemon: &Daemon, topics: &[&str], many: u32) {
    let mut lines = daemon.lines();
    for n in 0..many {
        for topic in topics {
            let reply = lines.ask(format!(r#"{{"publish":{{"topic":"{topic}","data":"{n}"}}}}"#));
            assert!(reply["published"].is_object(), "{reply}");
        }
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn a_rule_bounds_the_matching_topics_by_count_and_bytes() {
    let daemon = Daemon::configured(
        "history_events = 8\n\
         [[topics]]\nmatch = [\"few/first\", \"x\"]\nhistory_events = 2\n\
         [[topics]]\nmatch = \"few/**\"\nhistory_events = 4\n\
         [[topics]]\nmatch = \"small\"\nhistory_bytes = \"1KiB\"\n\
         [[topics]]\nmatch = \"more\"\nhistory_events = 100\n",
    );
    publish(&daemon, &["few/first", "few", "few/a/b", "more", "other"], 20);
    for (topic, kept) in [("few/first", 2_u32), ("few", 4), ("few/a/b", 4), ("more", 20), ("other", 8)] {
        assert_eq!(history(&daemon, topic), numbers(20 - kept..20), "{topic}: the first matching rule applies");
    }
    // Bounds that a rule leaves out are the general ones.
    publish(&daemon, &["small"], 20);
    let small = history(&daemon, "small").len();
    assert!((1..8).contains(&small), "{small} events are about 1 KiB");
    for n in 0..5 {
        daemon.publish("small", format!("{n:0>600}"));
    }
    assert_eq!(history(&daemon, "small"), [format!("{:0>600}", 4)]);
}

#[test]
fn a_rule_may_keep_events_shorter_or_longer_than_the_default() {
    let daemon = Daemon::configured("[[topics]]\nmatch = [\"brief\", \"short/*\"]\nhistory_age = \"200ms\"\n");
    publish(&daemon, &["other", "brief", "short/a"], 3);
    until("expired events are evicted", || history(&daemon, "*/**").eq(&numbers(0..3)).then_some(()));
    assert_eq!(history(&daemon, "other"), numbers(0..3));
    let held = |topic: &str| {
        let topics = daemon.ctl(&["topics"]).ok().json();
        topics.iter().find(|info| info["topic"] == topic).map(|info| info["events"].clone())
    };
    assert_eq!((held("brief"), held("short/a"), held("other")), (Some(0.into()), Some(0.into()), Some(3.into())));

    let daemon = Daemon::configured("history_age = \"200ms\"\n[[topics]]\nmatch = \"lasting\"\nhistory_age = \"1h\"\n");
    publish(&daemon, &["lasting", "other"], 3);
    until("expired events are evicted", || history(&daemon, "other").is_empty().then_some(()));
    assert_eq!(history(&daemon, "lasting"), numbers(0..3), "what is kept longer hides nothing that came later");
}

#[test]
fn changed_rules_apply_at_once_to_existing_topics_and_end_no_stream() {
    let daemon = Daemon::configured("[[topics]]\nmatch = \"few\"\nhistory_events = 5\n");
    let mut stream = daemon.stream("/events?topic=few&topic=other");
    let first = daemon.publish("other", "first");
    publish(&daemon, &["few", "other"], 10);
    assert_eq!(stream.data(21).len(), 21);

    let toml = "[[topics]]\nmatch = \"few\"\nhistory_events = 2\n[[topics]]\nmatch = \"oth*\"\nhistory_age = \"1ms\"\n";
    reload(&daemon, toml, "oth*");
    assert_eq!(history(&daemon, "few"), numbers(5..10), "an invalid rule changes nothing");
    let toml = toml.replace("oth*", "other").replace("history_age = \"1ms\"", "history_events = 3");
    reload(&daemon, &toml, "read the configuration again");
    assert_eq!((history(&daemon, "few"), history(&daemon, "other")), (numbers(8..10), numbers(7..10)));
    let mut resumed = daemon.stream_with("/events/other", &[("Last-Event-ID", &first)]);
    assert_eq!(resumed.event().json()["reason"], "evicted", "a client that resumes receives a gap");
    assert_eq!(resumed.data(3), numbers(7..10));

    reload(&daemon, "", "read the configuration again");
    publish(&daemon, &["few"], 10);
    assert_eq!(history(&daemon, "few").len(), 12, "no rule is left");
    assert_eq!(stream.data(10), numbers(0..10));
}

#[test]
fn after_a_restart_history_on_disk_is_bounded_by_the_new_rules() {
    let sandbox = Sandbox::new();
    let rule = |filter: &str, events: u32| format!("[[topics]]\nmatch = \"{filter}\"\nhistory_events = {events}\n");
    let file = sandbox.file("config.toml", "history = \"disk\"\n".to_owned() + &rule("few", 5));
    let mut daemon = Daemon::start_at(sandbox, &["--config", &file]);
    publish(&daemon, &["few", "other"], 10);
    for (rules, few, other) in
        [(rule("few", 5), 5, 10), (rule("*", 4), 4, 4), (rule("nothing", 1), 4, 4), (rule("few", 2), 2, 4)]
    {
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait(), Some(0));
        fs::write(&file, "history = \"disk\"\n".to_owned() + &rules).unwrap();
        daemon.start_again();
        let kept = |many: u32| numbers(10 - many..10);
        assert_eq!((history(&daemon, "few"), history(&daemon, "other")), (kept(few), kept(other)), "{rules}");
    }
}

#[test]
fn an_invalid_rule_is_refused_with_its_position() {
    let sandbox = Sandbox::new();
    for (table, line, column, said) in [
        ("[[topics]]\nmatch = \"a\"", 2, 1, "sets nothing"),
        ("[[topics]]\nhistory_events = 1", 2, 1, "`match`"),
        ("[[topics]]\nmatch = \"a\"\nhistory_evens = 1", 4, 1, "history_evens"),
        ("[[topics]]\nhistory_events = 1\nmatch = \"a/**/b\"", 4, 9, "the filter `a/**/b`"),
        ("[[topics]]\nmatch = [\"a\", \"b*\"]\nhistory_events = 1", 3, 9, "the filter `b*`"),
        ("[[topics]]\nmatch = []\nhistory_events = 1", 3, 9, "at least one filter"),
        ("[[topics]]\nmatch = 7\nhistory_events = 1", 3, 9, "a list of filters"),
        ("[[topics]]\nmatch = \"a\"\nhistory_events = -1", 4, 18, "-1"),
        ("[[topics]]\nmatch = \"a\"\nhistory_bytes = \"much\"", 4, 17, "much"),
        ("[[topics]]\nmatch = \"a\"\nhistory_age = \"soon\"", 4, 15, "history_age"),
        ("[[topics]]\nmatch = \"a\"\nttl = 5", 4, 7, "a duration such as"),
        ("[[topics]]\nmatch = \"a\"\npublishers = [\"uid:x\"]", 4, 14, "uid:1001"),
        ("[topics]\nmatch = \"a\"", 2, 1, "[[topics]]"),
    ] {
        let file = sandbox.file("config.toml", format!("log = \"info\"\n{table}\n"));
        let mut busd = sandbox.busd();
        busd.args(["--check", "--config", &file]);
        let run = Process::start(busd).finish().ends_with(2);
        run.says(&format!("{file}:{line}:{column}: ")).says(said);
    }
}
