//! The daemon's configuration, and what it logs about it.

use std::fs;

use serde_json::Value;

use crate::{
    harness::{Daemon, Process, Run, Sandbox},
    reload::reload,
};

fn busd_checks(sandbox: &Sandbox, file: &str) -> Run {
    let mut busd = sandbox.busd();
    busd.args(["--check", "--config", file]);
    Process::start(busd).finish()
}

#[test]
fn a_check_of_a_valid_configuration_succeeds_and_starts_nothing() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("config.toml", "history_events = 5\n[limits]\ntopics = 7\n");
    let mut busd = sandbox.busd();
    busd.args(["--check", "--config", &file]);
    let run = Process::start(busd).finish().ok();
    assert!(run.stdout.contains("valid"), "{run}");
    assert!(!sandbox.path("sse-bus").exists());
}

#[test]
fn a_check_reports_in_json_for_programs() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("config.toml", "listen = \"127.0.0.1:7999\"\nallow_uid = [1]\n");
    for check in ["--check=json", "--check=text"] {
        let mut busd = sandbox.busd();
        busd.args([check, "--config", &file, "--state-dir", "state"]);
        let run = Process::start(busd).finish().ok();
        if check == "--check=text" {
            assert!(run.stdout.starts_with("the configuration is valid\n"), "{run}");
            continue;
        }
        let report = &run.json()[0];
        assert_eq!(report["listen"], serde_json::json!(["127.0.0.1:7999"]), "{run}");
        assert_eq!(report["socket"], sandbox.path("sse-bus/bus.sock").to_str().unwrap(), "{run}");
        assert_eq!(report["state_dir"], sandbox.path("state").to_str().unwrap(), "{run}");
        assert!(report["warnings"].is_array() && run.stderr.is_empty(), "{run}");
    }
    let mut busd = sandbox.busd();
    busd.args(["--check", "--config", &sandbox.file("config.toml", "a = 1\nlog = 2\n")]).env("SSE_BUS_CHECK", "json");
    let run = Process::start(busd).finish().ends_with(2);
    assert!(run.stderr.contains("unknown key `a`") && run.stdout.is_empty(), "a flag overrides its variable: {run}");
    let mut busd = sandbox.busd();
    busd.args(["--config", &sandbox.file("config.toml", "a = 1\nlog = 2\n")]).env("SSE_BUS_CHECK", "json");
    let run = Process::start(busd).finish().ends_with(2);
    let errors = run.json()[0]["errors"].as_array().unwrap().len();
    assert!(errors == 2 && run.stderr.is_empty(), "{run}");
}

#[test]
fn configuration_errors_are_one_line_with_position_and_suggestion() {
    let sandbox = Sandbox::new();
    for (toml, at, said) in [
        ("lissten = \"127.0.0.1:0\"", "1:1", "unknown key `lissten`, did you mean `listen`?"),
        ("[limits]\ntopicks = 3", "2:1", "unknown key `topicks`, did you mean `topics`?"),
        ("[[topics]]\nmatch = \"a\"\npublisher = []", "3:1", "unknown key `publisher`, did you mean `publishers`?"),
        ("event_bytes = 3", "1:1", "the key `event_bytes` belongs under [limits]"),
        ("history_age = 5", "1:15", "history_age = 5: expected a duration such as \"24h\""),
        ("history_age = \"soon\"", "1:15", "history_age = \"soon\": expected a duration"),
        ("listen = 7", "1:10", "listen = 7: expected an address and a port"),
        ("log = \"info\"\nhistory_events = ", "2:18", "string values must be quoted"),
        ("log = \"info\"\nlog = \"info\"", "2:1", "duplicate key"),
        // Conflicts with the machine or with other settings.
        ("\nlisten = \"0.0.0.0:80\"", "2:1", "listen = 0.0.0.0:80 is not a loopback address"),
        ("allow_origin = [\"localhost\"]", "1:1", "allow_origin `localhost` is not an origin"),
        ("log = \"a=b=c\"", "1:1", "log = a=b=c"),
        ("log = \"inof\"", "1:1", "log = inof: `inof` is not a level"),
        ("[limits]\nevent_bytes = 5000000", "2:1", "event_bytes can be 4128768 at most"),
        ("tls_cert = \"/a.pem\"", "1:1", "tls_cert = /a.pem cannot be used without"),
    ] {
        let file = sandbox.file("config.toml", toml);
        let before = sandbox.listing();
        let mut busd = sandbox.busd();
        busd.args(["--check", "--config", &file]);
        let run = Process::start(busd).finish().ends_with(2);
        assert!(run.stderr.starts_with(&format!("sse-busd: {file}:{at}: {said}")), "{run}");
        assert_eq!((run.stderr.lines().count(), &*run.stdout), (1, ""), "{run}");
        assert_eq!(sandbox.listing(), before);
    }
    let mut busd = sandbox.busd();
    busd.args(["--check", "--config", &sandbox.file("config.toml", "a = 1\nlog = 2\nhistori = 3\n")]);
    let run = Process::start(busd).finish().ends_with(2);
    assert_eq!(run.stderr.lines().count(), 3, "all errors are reported: {run}");
    // An error in a flag or a variable names it.
    sandbox.busd_fails(&["--check", "--allow-origin", "here"]).ends_with(2).says("sse-busd: --allow-origin: ");
    let mut busd = sandbox.busd();
    busd.args(["--check", "--no-config"]).env("SSE_BUS_LOG", "a=b=c");
    Process::start(busd).finish().ends_with(2).says("sse-busd: SSE_BUS_LOG: log = a=b=c");
    sandbox.busd_fails(&["--history-bytes", "lots"]).ends_with(2).says("--history-bytes");
    let mut busd = sandbox.busd();
    busd.args(["--config", "missing.toml"]);
    Process::start(busd).finish().ends_with(2).says("missing.toml");
}

#[test]
fn a_file_that_is_not_a_configuration_is_refused_before_it_is_read_whole() {
    let sandbox = Sandbox::new();
    let check = |file: &str| busd_checks(&sandbox, file).ends_with(2);
    check("/dev/zero").says("/dev/zero: a configuration file has 1 MiB at most; check the path");
    let sparse = sandbox.file("sparse.toml", "");
    fs::File::options().write(true).open(&sparse).unwrap().set_len(1 << 30).unwrap();
    check(&sparse).says("1 MiB at most");
    check(&sandbox.file("latin.toml", b"history = \"disk\"\n# caf\xe9\n")).says("latin.toml: line 2 is not UTF-8");
    check(&sandbox.path("").display().to_string()).says("directory");
    busd_checks(&sandbox, &sandbox.file("full.toml", format!("history = \"disk\"\n#{}", "x".repeat((1 << 20) - 18))))
        .ok();
}

#[test]
fn a_named_pipe_is_refused_but_process_substitution_works() {
    let sandbox = Sandbox::new();
    let pipe = sandbox.path("pipe.toml");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let pipe = pipe.display().to_string();
    let run = busd_checks(&sandbox, &pipe).ends_with(2);
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    run.says("pipe.toml: it is not a regular file but a named pipe; check the path");
    let mut busd = sandbox.busd();
    busd.args(["--config", &pipe]);
    Process::start(busd).finish().ends_with(2).says("it is not a regular file");
    busd_checks(&sandbox, "/dev/null").ok();
    let mut shell = sandbox.command("bash");
    let script = "echo 'history_events = 7' | \"$0\" --check --config /dev/stdin && \"$0\" --check --config <(echo 'lissten = 1')";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_sse-busd")]);
    let run = Process::start(shell).finish().ends_with(2).says("1:1: unknown key `lissten`");
    assert!(run.stdout.starts_with("the configuration is valid\n"), "{run}");
}

#[test]
fn the_printed_configuration_is_valid_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let mut busd = sandbox.busd();
    busd.arg("--print-config").env("SSE_BUS_HISTORY", "disk");
    let printed = Process::start(busd).finish().ok().stdout;
    let file = sandbox.file("config.toml", printed);
    sandbox.busd_fails(&["--check"]).ok();
    let mut busd = sandbox.busd();
    busd.args(["--check", "--config", &file]);
    Process::start(busd).finish().ok();
}

#[test]
fn a_misspelled_variable_of_the_daemon_is_reported() {
    let sandbox = Sandbox::new();
    let mut busd = sandbox.busd();
    busd.args(["--check", "--no-config"]).env("SSE_BUS_LISTN", "127.0.0.1:1").env("SSE_BUS_OTHER", "1");
    let run = Process::start(busd).finish().ok();
    assert!(run.stderr.contains("`SSE_BUS_LISTN`") && run.stderr.contains("`SSE_BUS_LISTEN`"), "{run}");
    assert_eq!(run.stderr.lines().count(), 1, "{run}");

    let flags = ["--listen", "127.0.0.1:0", "--no-config", "--socket", &sandbox.socket().display().to_string()];
    let flags = flags.map(ToOwned::to_owned).to_vec();
    let daemon = Daemon::of_command(sandbox, flags, |busd| {
        busd.env("SSE_BUS_HISTORY_EVNTS", "1");
    });
    daemon.has_logged("`SSE_BUS_HISTORY_EVENTS`");
    assert!(daemon.log().contains("WARN"), "{}", daemon.log());

    // No variable of sse-busctl or its children is similar to one of the daemon's.
    let sandbox = Sandbox::new();
    let mut busd = sandbox.busd();
    busd.args(["--check", "--no-config"]);
    let sources = [
        "ctl/cli/mod.rs",
        "ctl/cli/publish.rs",
        "ctl/cli/subscribe.rs",
        "ctl/exec.rs",
        "docs/how-to/command-for-each-event.md",
    ]
    .map(|name| fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap());
    let is_of_name = |c: char| c.is_ascii_uppercase() || c == '_';
    let text = sources.concat();
    let names = text.split(|c| !is_of_name(c)).filter(|name| name.starts_with("SSE_BUS_") && !name.ends_with('_'));
    let names: Vec<_> = names.collect();
    assert!(names.len() > 20 && names.contains(&"SSE_BUS_TOPIC"), "{names:?}");
    let daemons = ["SSE_BUS_SOCKET", "SSE_BUS_HISTORY_AGE", "SSE_BUS_LISTEN"];
    busd.envs(names.into_iter().filter(|name| !daemons.contains(name)).map(|name| (name, "1")));
    let run = Process::start(busd).finish().ok();
    assert_eq!(run.stderr, "");
}

/// The source of a value, and the value.
fn setting(settings: &Value, key: &str) -> (String, Value) {
    let setting = settings.as_array().unwrap().iter().find(|setting| setting["key"] == key);
    let setting = setting.unwrap_or_else(|| panic!("no {key} in {settings}"));
    (setting["source"].as_str().unwrap().into(), setting["value"].clone())
}

#[test]
fn the_daemon_reports_its_configuration_and_the_source_of_each_value() {
    let sandbox = Sandbox::new();
    let toml = "history_age = \"10m\"\nhistory_bytes = 1048576\n[limits]\n  topics = 7\n\
                [[topics]]\nmatch = \"a\"\nttl = \"5s\"\n";
    let file = sandbox.file("config.toml", toml);
    let socket = sandbox.socket().display().to_string();
    let flags = ["--listen", "127.0.0.1:0", "--socket", &socket, "--config", &file];
    let daemon = Daemon::of_command(sandbox, flags.map(ToOwned::to_owned).to_vec(), |command| {
        command.env("SSE_BUS_HISTORY_EVENTS", "4");
    });
    let run = daemon.ctl(&["status", "--config"]).ok();
    let settings = &Value::from(run.json());
    let from_file = |position: &str| format!("{file}:{position}");
    for (key, source, value) in [
        ("config", "--config".to_owned(), Value::from(&*file)),
        ("listen", "--listen".into(), "127.0.0.1:0".into()),
        ("socket", "--socket".into(), (&*socket).into()),
        ("history_events", "SSE_BUS_HISTORY_EVENTS".into(), 4.into()),
        ("history_age", from_file("1:1"), "10m".into()),
        ("history_bytes", from_file("2:1"), "1MiB".into()),
        ("limits.topics", from_file("4:3"), 7.into()),
        ("limits.subscribers", "default".into(), 50_000.into()),
        ("topics[0]", from_file("5:1"), serde_json::json!({"match": ["a"], "ttl": "5s"})),
        ("log", "default".into(), "info".into()),
        ("tls_key", "default".into(), Value::Null),
    ] {
        assert_eq!(setting(settings, key), (source, value), "{key}");
    }
    assert_eq!(daemon.lines().ask(r#"{"config":{}}"#)["config"], *settings);
    assert_eq!(&daemon.get("/config").json(), settings);
    let run = daemon.ctl(&["token", "create", "--json", "--name", "t", "--scope", "publish,subscribe"]).ok();
    let bearer = format!("Bearer {}", run.json()[0]["token"].as_str().unwrap());
    assert_eq!(daemon.request("GET", "/config", &[("Authorization", &bearer)], "").refusal().0, 403);

    // This is the configuration in effect: settings that need a restart have not changed.
    reload(&daemon, "log = \"warn\"\nhistory = \"disk\"\nstate_dir = \"/elsewhere\"\n", "state_dir, history");
    let settings = daemon.get("/config").json();
    assert_eq!(setting(&settings, "log"), (from_file("1:1"), "warn".into()));
    assert_eq!(setting(&settings, "history"), ("default".into(), "memory".into()));
    assert_eq!(setting(&settings, "history_age"), ("default".into(), "1d".into()));
    assert_eq!(setting(&settings, "state_dir").0, "default");
}

#[test]
fn certificate_and_key_must_be_set_together() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("some.pem", "");
    sandbox.busd_fails(&["--check", "--tls-cert", &file]).ends_with(2).says("tls_cert = ").says("--tls-key");
    sandbox.busd_fails(&["--check", "--tls-key", &file]).ends_with(2).says("tls_key = ").says("--tls-cert");
    if cfg!(not(feature = "tls")) {
        let run = sandbox.busd_fails(&["--check", "--tls-cert", &file, "--tls-key", &file]).ends_with(2);
        run.says("without TLS").says("--features tls");
    }
}

#[test]
fn flags_override_the_environment_which_overrides_the_file() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("config.toml", "history_events = 2\nhistory_bytes = \"1MiB\"\nhistory_budget = \"3MiB\"\n");
    let flags = ["--listen", "127.0.0.1:0", "--config", &file, "--history-bytes", "2MiB"];
    let socket = sandbox.socket();
    let daemon = Daemon::of_command(sandbox, flags.map(ToOwned::to_owned).to_vec(), |command| {
        command.env("SSE_BUS_SOCKET", socket).env("SSE_BUS_HISTORY_EVENTS", "4").env("SSE_BUS_HISTORY_BYTES", "5");
        // Empty variables count as unset.
        command.env("SSE_BUS_HISTORY_BUDGET", "").env("SSE_BUS_LOG", "").env("SSE_BUS_CHECK", "");
    });
    for n in 0..10 {
        daemon.publish("t", n.to_string());
    }
    let status = daemon.status();
    assert_eq!((&status["history_events"], &status["history_budget"]), (&4.into(), &(3 << 20).into()));
}

#[test]
fn the_users_own_configuration_is_found() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("sse-bus")).unwrap();
    sandbox.file("sse-bus/config.toml", "lissten = 1\n");
    let mut busd = sandbox.busd();
    busd.arg("--check");
    let run = Process::start(busd).finish();
    // macOS keeps it elsewhere; this path is Linux's.
    if cfg!(target_os = "linux") {
        run.ends_with(2).says("sse-bus/config.toml").says("lissten");
    }
    sandbox.busd_fails(&["--check"]).ok();
}

#[test]
fn output_that_cannot_be_written_is_an_error_but_a_closed_pipe_is_not() {
    let sandbox = Sandbox::new();
    for flag in ["--check", "--print-config"] {
        let mut busd = sandbox.busd();
        busd.args(["--no-config", flag]);
        let script = format!("{0:?} --no-config {flag} | true; echo ${{PIPESTATUS[0]}}", busd.get_program());
        let mut bash = sandbox.command("bash");
        bash.args(["-c", &script]);
        let run = Process::start(bash).finish().ok();
        assert_eq!((&*run.stdout, &*run.stderr), ("0\n", ""), "{flag}");
        if !cfg!(target_os = "linux") {
            continue;
        }
        let mut bash = sandbox.command("bash");
        bash.args(["-c", &format!("{0:?} --no-config {flag} > /dev/full", busd.get_program())]);
        let run = Process::start(bash).finish();
        assert!(run.code.is_some_and(|code| code != 0 && code != 101), "{run}");
        run.says("cannot write the output");
    }
}

#[test]
fn variables_accept_the_same_values_as_flags() {
    let sandbox = Sandbox::new();
    for (value, code) in [("1", 0), ("yes", 0), ("true", 0), ("off", 0), ("maybe", 2)] {
        let mut busd = sandbox.busd();
        busd.args(["--check", "--no-config"]).env("SSE_BUS_INSECURE", value);
        Process::start(busd).finish().ends_with(code);
        let mut busctl = sandbox.busctl(&["url", "t"]);
        busctl.env("SSE_BUS_JSON", value);
        // There is no daemon.
        Process::start(busctl).finish().ends_with(if code == 0 { 3 } else { code });
    }
}

/// With its defaults instead, the daemon would admit clients that the file keeps out.
#[test]
fn an_unreadable_configuration_file_is_an_error() {
    let sandbox = Sandbox::new();
    let mut busd = sandbox.busd();
    let usual = sandbox.path("sse-bus/config.toml");
    fs::create_dir_all(usual.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("nowhere", &usual).unwrap();
    busd.arg("--check");
    Process::start(busd).finish().ends_with(2).says("config.toml").says("--no-config");
}

#[test]
fn a_configuration_file_writable_by_others_is_warned_about() {
    use std::{fs, os::unix::fs::PermissionsExt as _};
    let sandbox = Sandbox::new();
    let file = sandbox.file("config.toml", "");
    let check = || {
        let mut busd = sandbox.busd();
        busd.args(["--config", &file, "--check"]);
        Process::start(busd).finish().ok().stderr
    };
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(check(), "");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
    let said = check();
    assert!(said.contains(&format!("chmod go-w {file}")) && said.contains("control this daemon"), "{said}");
}
