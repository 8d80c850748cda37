//! `sse-busctl work --exec`: commands and their outcomes.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::{Value, json};

use crate::harness::{Daemon, token, until};

/// A daemon with the consumer `q` of the topics `jobs/**`.
pub(crate) fn with_consumer(more: &[&str]) -> Daemon {
    let daemon = Daemon::start(&[]);
    daemon.ctl(&[&["consumer", "create", "q", "jobs/**", "--backoff", "20ms"], more].concat()).ok();
    daemon
}

pub(crate) fn publish(daemon: &Daemon, data: &[&str]) {
    for data in data {
        daemon.publish("jobs/a", data);
    }
}

pub(crate) fn consumer(daemon: &Daemon) -> Value {
    daemon.ctl(&["consumer", "show", "q"]).ok().json().remove(0)
}

/// Waits until a field of the consumer has a value.
pub(crate) fn wait_for(daemon: &Daemon, field: &str, value: u64) {
    until(&format!("{field} = {value}"), || (consumer(daemon)[field] == value).then_some(()));
}

pub(crate) fn lines(path: &std::path::Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(ToOwned::to_owned).collect()
}

/// Waits until a file has a number of lines.
pub(crate) fn wait_for_lines(path: &std::path::Path, number: usize) -> Vec<String> {
    until(&format!("{number} lines in {}", path.display()), || Some(lines(path)).filter(|lines| lines.len() >= number))
}

/// The number of deliveries that each outcome got.
pub(crate) fn outcomes(daemon: &Daemon) -> [Value; 4] {
    let info = consumer(daemon);
    ["acknowledged", "delivered", "waiting", "dead"].map(|field| info[field].clone())
}

/// Returns true if a process has ended. One that nobody has waited for counts as ended.
pub(crate) fn ended(pid: i32) -> bool {
    let is_zombie = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
    };
    test_kill_process(Pid::from_raw(pid).unwrap()).is_err() || is_zombie()
}

#[test]
fn a_command_gets_the_event_and_its_attempt() {
    let daemon = with_consumer(&[]);
    daemon.ctl(&["publish", "jobs/a", "some data", "--type", "done"]).ok();
    let script = r#"read data; echo "$SSE_BUS_CONSUMER $SSE_BUS_TOPIC $SSE_BUS_TYPE $SSE_BUS_ATTEMPT $SSE_BUS_DATA"
        test "$data" = "$SSE_BUS_DATA"; test "$SSE_BUS_ATTEMPT" = 2"#;
    let run = daemon.ctl(&["work", "q", "--count", "2", "--exec", script]).ok().says("1 done, 1 failed");
    assert_eq!(run.stdout, "q jobs/a done 1 some data\nq jobs/a done 2 some data\n");
    assert_eq!(outcomes(&daemon), [json!(1), json!(2), json!(0), json!(0)]);
}

#[test]
fn the_exit_code_of_a_command_settles_its_delivery() {
    let daemon = with_consumer(&["--max-attempts", "2"]);
    publish(&daemon, &["exit 0", "echo first >&2; echo 'not a picture ' >&2; echo >&2; exit 65", "exit 65"]);
    publish(&daemon, &["exit 75", "exit 1", "kill -9 $$", "/does/not/exist"]);
    let run = daemon.ctl(&["work", "q", "-j2", "--count", "11", "--exec", "sh"]).ok();
    let run = run.says("1 done, 8 failed, 2 rejected").says("first\n").says("rejected it: not a picture");
    assert!(run.stdout.is_empty(), "{run}");
    let letters = daemon.ctl(&["dead", "list", "q"]).ok().json();
    let described: Vec<_> =
        letters.iter().map(|letter| json!([letter["reason"], letter["text"], letter["attempts"]])).collect();
    assert_eq!(
        described,
        [
            json!(["rejected", "not a picture", 1]),
            json!(["rejected", "exit status: 65", 1]),
            json!(["attempts", null, 2]),
            json!(["attempts", null, 2]),
            json!(["attempts", null, 2]),
            json!(["attempts", null, 2]),
        ]
    );
}

#[test]
fn dead_letters_are_retried_and_dropped() {
    let daemon = with_consumer(&["--max-attempts", "1"]);
    let ids: Vec<_> = ["jobs/a", "jobs/b", "jobs/b", "jobs/c"].map(|topic| daemon.publish(topic, "x")).into();
    daemon.ctl(&["work", "q", "-n", "4", "--exec", "exit 1"]).ok();
    let dead = || daemon.ctl(&["dead", "list", "q"]).ok().json().into_iter().map(|letter| letter["id"].clone());
    assert_eq!(dead().collect::<Vec<_>>(), ids);
    assert_eq!(daemon.ctl(&["dead", "retry", "q", &ids[0]]).ok().json(), [json!({"consumer": "q", "retried": 1})]);
    daemon.ctl(&["dead", "retry", "q", &ids[0]]).ends_with(4).says("dead letter");
    assert_eq!(daemon.ctl(&["dead", "retry", "q", "--filter", "jobs/b"]).ok().json()[0]["retried"], 2);
    assert_eq!(daemon.ctl(&["dead", "drop", "q", "--all"]).ok().json(), [json!({"consumer": "q", "dropped": 1})]);
    assert_eq!(dead().count(), 0);
    let run = daemon.ctl(&["work", "q", "-n", "3", "--exec", r#"echo "$SSE_BUS_TOPIC $SSE_BUS_ATTEMPT""#]).ok();
    let mut lines: Vec<_> = run.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["jobs/a 1", "jobs/b 1", "jobs/b 1"]);
    for arguments in [&["dead", "retry", "q"][..], &["dead", "drop", "q", "--all", &ids[0]]] {
        daemon.ctl(arguments).ends_with(2);
    }
    daemon.ctl(&["dead", "list", "nobody"]).ends_with(4);
}

#[test]
fn a_delivery_is_extended_while_its_command_runs() {
    let daemon = with_consumer(&["--ack-wait", "300ms"]);
    publish(&daemon, &["x"]);
    // The command runs until several deadlines would have passed.
    let release = daemon.sandbox.path("release");
    let script = format!("until test -e '{}'; do sleep 0.05; done", release.display());
    let worker = daemon.spawn_ctl(&["work", "q", "-n", "1", "--exec", &script]);
    wait_for(&daemon, "in_flight", 1);
    let begin = Instant::now();
    until("four deadlines later", || (begin.elapsed() > Duration::from_millis(1200)).then_some(()));
    fs::write(&release, "").unwrap();
    worker.finish().ok().says("1 done");
    assert_eq!(outcomes(&daemon), [json!(1), json!(1), json!(0), json!(0)]);
}

#[test]
fn several_commands_run_at_the_same_time() {
    let daemon = with_consumer(&[]);
    publish(&daemon, &["1", "2", "3", "4", "5"]);
    let started = daemon.sandbox.path("started");
    // Each ends once four have begun.
    let script = format!("echo >> '{0}'; until test $(wc -l < '{0}') -ge 4; do sleep 0.05; done", started.display());
    let worker = daemon.spawn_ctl(&["work", "q", "-j4", "--count", "5", "--exec", &script]);
    worker.finish().ok().says("5 done");
}

#[test]
fn two_workers_share_the_events() {
    let daemon = with_consumer(&[]);
    let done = daemon.sandbox.path("done");
    // Each worker waits until the other has an event as well.
    let script = |name: &str| {
        format!(
            "echo \"{name} $(cat)\" >> '{0}'; until grep -q one '{0}' && grep -q two '{0}'; do sleep 0.05; done",
            done.display()
        )
    };
    let workers =
        ["one", "two"].map(|name| daemon.spawn_ctl(&["work", "q", "--exec", &script(name), "--client", name]));
    wait_for(&daemon, "workers", 2);
    let numbers: Vec<_> = (1..=20).map(|number| number.to_string()).collect();
    publish(&daemon, &numbers.iter().map(String::as_str).collect::<Vec<_>>());
    wait_for(&daemon, "acknowledged", 20);
    let mut events: Vec<u32> =
        lines(&done).iter().map(|line| line.split_once(' ').unwrap().1.parse().unwrap()).collect();
    events.sort_unstable();
    assert_eq!(events, (1..=20).collect::<Vec<_>>());
    for worker in workers {
        worker.signal(Signal::TERM);
        worker.finish().ok();
    }
}

#[test]
fn a_batch_is_one_command_with_json_lines() {
    let daemon = with_consumer(&["--max-attempts", "1"]);
    publish(&daemon, &["1", "2", "3"]);
    let run = daemon.ctl(&["work", "q", "--batch", "10", "-n", "3", "--exec", "cat; echo end"]).ok().says("3 done");
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines.iter().filter(|line| **line == "end").count(), 1, "{run}");
    let events = lines[..3].iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events: Vec<_> = events.map(|event| json!([event["data"], event["delivery"]["attempt"]])).collect();
    assert_eq!(events, [json!(["1", 1]), json!(["2", 1]), json!(["3", 1])]);
    publish(&daemon, &["4", "5"]);
    daemon.ctl(&["work", "q", "--batch", "2", "-n", "2", "--exec", "echo no >&2; exit 65"]).ok().says("2 rejected");
    assert_eq!(daemon.ctl(&["dead", "list", "q"]).ok().json()[1]["text"], "no");
}

#[test]
fn a_command_need_not_read_its_input() {
    let daemon = with_consumer(&[]);
    // More than a pipe holds.
    daemon.publish("jobs/a", "x".repeat(250_000));
    daemon.publish("jobs/a", "y".repeat(250_000));
    let script = r#"test -z "${SSE_BUS_DATA-}" && exec <&-"#;
    daemon.ctl(&["work", "q", "-n", "1", "--exec", script]).ok().says("1 done");
    let run = daemon.ctl(&["work", "q", "-n", "1", "--exec", "wc -c"]).ok().says("1 done");
    assert_eq!(run.stdout.trim(), "250000");
}

#[test]
fn background_processes_of_a_command_do_not_delay_the_next() {
    let daemon = with_consumer(&[]);
    publish(&daemon, &["1", "2"]);
    let pids = daemon.sandbox.path("pids");
    let script = format!("sleep 100 >/dev/null & echo $! >> '{}'", pids.display());
    daemon.ctl(&["work", "q", "-n", "2", "--exec", &script]).ok().says("2 done");
    for pid in lines(&pids) {
        let pid = pid.parse().unwrap();
        assert!(!ended(pid), "it continues");
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
}

#[test]
fn commands_continue_while_the_daemon_is_away_and_nothing_is_done_twice() {
    let sandbox = crate::harness::Sandbox::new();
    let state = sandbox.path("state").display().to_string();
    let flags = ["--no-config", "--history", "disk", "--state-dir", &state];
    let mut daemon = Daemon::start_at(sandbox, &flags);
    daemon.ctl(&["consumer", "create", "q", "jobs/**", "--backoff", "20ms"]).ok();
    daemon.ctl(&["publish", "jobs/a", "one", "--ack", "durable"]).ok();
    daemon.ctl(&["publish", "jobs/a", "two", "--ack", "durable"]).ok();
    let (started, release) = (daemon.sandbox.path("started"), daemon.sandbox.path("release"));
    let script = format!(
        "echo \"$SSE_BUS_DATA\" >> '{}'; until test -e '{}'; do sleep 0.05; done",
        started.display(),
        release.display()
    );
    let worker = daemon.spawn_ctl(&["work", "q", "-j2", "--exec", &script]);
    wait_for_lines(&started, 2);
    daemon.kill();
    worker.stderr.wait_for("reconnecting");
    fs::write(&release, "").unwrap();
    worker.stderr.wait_for("the daemon has not confirmed it");
    daemon.start_again();
    wait_for(&daemon, "acknowledged", 2);
    worker.stderr.wait_for("is not processed again");
    worker.signal(Signal::TERM);
    worker.finish().ok().says("2 done");
    let mut started = lines(&started);
    started.sort_unstable();
    assert_eq!(started, ["one", "two"]);
}

#[test]
fn an_event_that_is_delivered_again_while_its_command_runs_is_settled_by_it() {
    let sandbox = crate::harness::Sandbox::new();
    let state = sandbox.path("state").display().to_string();
    let mut daemon = Daemon::start_at(sandbox, &["--no-config", "--history", "disk", "--state-dir", &state]);
    daemon.ctl(&["consumer", "create", "q", "jobs/**", "--backoff", "20ms"]).ok();
    daemon.ctl(&["publish", "jobs/a", "one", "--ack", "durable"]).ok();
    let (started, release) = (daemon.sandbox.path("started"), daemon.sandbox.path("release"));
    let script = format!("echo >> '{}'; until test -e '{}'; do sleep 0.05; done", started.display(), release.display());
    let worker = daemon.spawn_ctl(&["work", "q", "--exec", &script]);
    wait_for_lines(&started, 1);
    daemon.kill();
    worker.stderr.wait_for("reconnecting");
    daemon.start_again();
    wait_for(&daemon, "in_flight", 1);
    fs::write(&release, "").unwrap();
    wait_for(&daemon, "acknowledged", 1);
    worker.signal(Signal::TERM);
    let run = worker.finish().ok().says("1 done");
    assert!(!run.stderr.contains("not confirmed"), "{run}");
    assert_eq!(lines(&started).len(), 1);
}

#[test]
fn a_command_that_is_too_late_is_reported() {
    let daemon = with_consumer(&[]);
    publish(&daemon, &["x"]);
    let (started, release) = (daemon.sandbox.path("started"), daemon.sandbox.path("release"));
    let script = format!("echo >> '{}'; until test -e '{}'; do sleep 0.05; done", started.display(), release.display());
    let worker = daemon.spawn_ctl(&["work", "q", "-n", "1", "--exec", &script]);
    wait_for_lines(&started, 1);
    // Deliveries in flight are no longer current.
    daemon.ctl(&["consumer", "pause", "q"]).ok();
    daemon.ctl(&["consumer", "seek", "q", "now"]).ok();
    fs::write(&release, "").unwrap();
    worker.finish().ok().says("it is done, but its delivery is no longer current");
    assert_eq!(outcomes(&daemon)[0], 0);
}

#[test]
fn a_worker_has_the_exit_codes_of_every_command() {
    let mut daemon = with_consumer(&[]);
    let url = format!("http://{}", daemon.address);
    for before in [&[][..], &["--url", &url]] {
        let work = |more: &[&str]| daemon.ctl(&[before, &["work"], more].concat());
        work(&["nobody", "--exec", "true"]).ends_with(4).says("there is no consumer `nobody`");
        work(&["nobody"]).ends_with(4);
        work(&["q", "--batch", "2"]).ends_with(2);
        work(&["q", "--exec", "true", "-j0"]).ends_with(2);
        let names = |more: &[&str]| daemon.ctl(&[before, &["consumer"], more].concat());
        names(&["show", "nobody"]).ends_with(4);
        names(&["create", "q", "other"]).ends_with(1).says("`filters` is jobs/**, not other");
        names(&["create", "a b", "t"]).ends_with(2);
        names(&["create", "a", "t//u"]).ends_with(2);
        publish(&daemon, &["x"]);
        work(&["q", "-n", "1", "--exec", "cat"]).ok();
    }
    let worker = daemon.spawn_ctl(&["work", "q", "-n", "1", "--exec", "true"]);
    wait_for(&daemon, "workers", 1);
    worker.signal(Signal::TERM);
    worker.finish().ends_with(1).says("stopped after 0 of 1 deliveries");
    daemon.ctl(&["consumer", "delete", "q"]).ok();
    daemon.kill();
    daemon.ctl(&["work", "q", "--exec", "true"]).ends_with(3);
    daemon.ctl(&["consumer", "list"]).ends_with(3);
    daemon.ctl(&["dead", "list", "q"]).ends_with(3);
}

#[test]
fn a_worker_ends_with_its_consumer() {
    let daemon = with_consumer(&[]);
    let worker = daemon.spawn_ctl(&["work", "q", "--exec", "true"]);
    wait_for(&daemon, "workers", 1);
    daemon.ctl(&["consumer", "delete", "q"]).ok();
    worker.finish().ends_with(4);
}

#[test]
fn a_token_that_does_not_allow_to_work_is_denied() {
    let (daemon, tokens) = Daemon::exposed(&["--allow-host", "127.0.0.1"]);
    daemon.ctl(&["consumer", "create", "q", "jobs/**"]).ok();
    let work = token(&daemon.sandbox, &["--scope", "work", "--topic", "jobs/**"]);
    let other = token(&daemon.sandbox, &["--scope", "work", "--topic", "other/**"]);
    let url = format!("http://127.0.0.1:{}", daemon.address.port());
    daemon.ctl(&["publish", "jobs/a", "x"]).ok();
    for (name, token, code) in
        [("publish", &tokens.publish, 6), ("subscribe", &tokens.subscribe, 6), ("other", &other, 6), ("work", &work, 0)]
    {
        let file = daemon.sandbox.file(name, token);
        let before = ["--url", &url, "--token-file", &file, "--plaintext-token"];
        daemon.ctl(&[&before[..], &["work", "q", "-n", "1", "--exec", "true"]].concat()).ends_with(code);
        daemon.ctl(&[&before[..], &["dead", "list", "q"]].concat()).ends_with(code);
    }
}
