//! The command lines of both programs: values that cannot be read, options without effect, and `sse-busctl socket`.

use crate::{
    harness::{Daemon, Process, Sandbox},
    remote::url,
};

#[test]
fn an_invalid_number_is_answered_with_the_numbers_that_are_allowed() {
    let sandbox = Sandbox::new();
    for (arguments, advice) in [
        (&["subscribe", "--count", "x"][..], "a whole number, 1 or more"),
        (&["subscribe", "--count", "0"], "a whole number, 1 or more"),
        (&["history", "--limit", "1.5"], "a whole number, 1 or more"),
        (&["publish", "t", "x", "--every", "1s", "--count", "many"], "a whole number, 1 or more"),
        (&["bench", "--subscribers", "50001"], "a whole number from 1 to 50000"),
    ] {
        Process::start(sandbox.busctl(arguments)).finish().ends_with(2).says(&format!("write {advice}"));
    }
    for (option, value, advice) in [
        ("history-events", "many", "a whole number, 0 or more"),
        ("allow-uid", "alice", "a whole number from 0 to 4294967295"),
        ("allow-gid", "4294967296", "a whole number from 0 to 4294967295"),
        ("history-bytes", "large", "a size such as `64KiB` or `16MiB`"),
        ("history-budget", "1 parsec", "a size such as `64KiB` or `16MiB`"),
        ("history-age", "never", "a number with a unit, such as `30s`, `5m` or `1h30m`"),
    ] {
        let run = sandbox.busd_fails(&[&format!("--{option}"), value]);
        run.ends_with(2).says(&format!("write {advice}"));
        let mut busd = sandbox.busd();
        busd.arg("--check").env(format!("SSE_BUS_{}", option.to_uppercase().replace('-', "_")), value);
        Process::start(busd).finish().ends_with(2).says(&format!("write {advice}"));
    }
}

#[test]
fn options_of_a_daemon_elsewhere_are_refused_without_its_url() {
    let daemon = Daemon::start(&[]);
    let file = daemon.sandbox.file("token", "");
    for option in [&["--token-file", &file][..], &["--ca-file", &file], &["--plaintext-token"]] {
        let run = daemon.ctl(&[&["publish", "t", "x"], option].concat());
        run.ends_with(2).says(&format!("{} is for a daemon elsewhere; name its URL with --url", option[0]));
    }
    // A socket on the command line overrides the URL of a variable; the token file of the variable stays without effect.
    let run = |arguments: &[&str]| {
        let mut ctl = daemon.sandbox.busctl(arguments);
        ctl.env("SSE_BUS_URL", "http://127.0.0.1:1").env("SSE_BUS_TOKEN_FILE", &file);
        Process::start(ctl).finish()
    };
    let socket = daemon.sandbox.socket().display().to_string();
    run(&["--socket", &socket, "publish", "t", "x"]).ok();
    run(&["--socket", &socket, "--token-file", &file, "publish", "t", "x"]).ends_with(2).says("--token-file");
}

#[test]
fn the_path_of_the_socket_is_printed_for_other_programs() {
    let daemon = Daemon::start(&[]);
    let socket = daemon.sandbox.socket().display().to_string();
    assert_eq!(daemon.ctl(&["socket"]).ok().stdout, format!("{socket}\n"));
    assert_eq!(daemon.ctl(&["socket", "--json"]).ok().json(), [socket]);
    daemon.ctl(&["--url", &url(&daemon), "socket"]).ends_with(2).says("on this machine only");
    Process::start(Sandbox::new().busctl(&["socket"])).finish().ends_with(3);
}
