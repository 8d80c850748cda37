//! Shell completion of topics, clients and tokens of the running daemon, in real shells.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::harness::{Daemon, Process, Sandbox};

/// A shell with `sse-busctl` in its path, and the daemon's socket in its environment.
fn shell(sandbox: &Sandbox, name: &str, args: &[&str]) -> Command {
    let programs = Path::new(env!("CARGO_BIN_EXE_sse-busctl")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut shell = sandbox.command(name);
    shell.env("PATH", path).env("SSE_BUS_SOCKET", sandbox.socket()).env("TERM", "xterm").args(args);
    shell
}

/// What bash offers for the last word.
fn bash(sandbox: &Sandbox, words: &str) -> Vec<String> {
    bash_after(sandbox, ":", words)
}

/// The same after a command.
fn bash_after(sandbox: &Sandbox, command: &str, words: &str) -> Vec<String> {
    let script = format!(
        r#"set -u; {command}; source <(sse-busctl completions bash)
        COMP_WORDS=({words}) COMP_TYPE=9; COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _clap_complete_sse_busctl sse-busctl "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
        printf '%s\n' "${{COMPREPLY[@]-}}""#
    );
    let run = Process::start(shell(sandbox, "bash", &["-c", &script])).finish().ok();
    assert_eq!(run.stderr, "", "{run}");
    run.stdout.split_whitespace().map(ToOwned::to_owned).collect()
}

/// What fish offers for a line.
fn fish(sandbox: &Sandbox, line: &str) -> Vec<String> {
    let script = format!("sse-busctl completions fish | source; complete -C '{line}'");
    let run = Process::start(shell(sandbox, "fish", &["--no-config", "-c", &script])).finish().ok();
    assert_eq!(run.stderr, "", "{run}");
    // A word and its description.
    run.stdout.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// An interactive zsh on a terminal.
fn zsh(sandbox: &Sandbox, setup: &str) -> Process {
    // READY is printed in two parts, so that the echo of the command does not match.
    let line = format!("unsetopt beep; autoload -U compinit; {setup}; print RE''ADY\n");
    let mut zsh = Process::start(shell(sandbox, "script", &["-qfc", "zsh -f -i", "/dev/null"]));
    zsh.feed(line.as_bytes());
    zsh.stdout.wait_for("READY");
    zsh
}

/// A daemon with two topics, a client and two tokens.
fn daemon() -> Daemon {
    let sandbox = Sandbox::new();
    let state = sandbox.path("state").display().to_string();
    let daemon = Daemon::start_at(sandbox, &["--no-config", "--state-dir", &state]);
    daemon.publish("build/web", "ok");
    daemon.publish("deploy", "ok");
    daemon.ctl(&["publish", "b`reboot`", "completing this must not run it"]).ok();
    daemon.ctl(&["token", "create", "--name", "tablet"]).ok();
    daemon.ctl(&["consumer", "create", "thumbs", "photos/**"]).ok();
    daemon
}

#[test]
fn bash_completes_topics_clients_and_tokens_of_the_daemon() {
    let daemon = daemon();
    let _phone = daemon.stream("/events/t?client=phone");
    let sandbox = &daemon.sandbox;
    assert_eq!(bash(sandbox, "sse-busctl publish bui"), ["build/web"]);
    assert_eq!(
        bash(sandbox, "sse-busctl subscribe deploy b"),
        ["build/web"],
        "topics that a shell would run are left out"
    );
    assert_eq!(bash(sandbox, "sse-busctl history d"), ["deploy"]);
    assert_eq!(bash(sandbox, "sse-busctl pub bui"), ["build/web"]);
    assert_eq!(bash(sandbox, "sse-busctl topics bui"), ["build/web"]);
    assert_eq!(bash(sandbox, "sse-busctl history --format d"), ["data"]);
    assert_eq!(bash(sandbox, "sse-busctl url b"), ["build/web"]);
    for words in ["sse-busctl send p", "sse-busctl kick p", "sse-busctl publish build/web --to p"] {
        assert_eq!(bash(sandbox, words), ["phone"], "{words}");
    }
    assert_eq!(bash(sandbox, "sse-busctl token revoke t"), ["tablet"]);
    for words in ["work t", "consumer show t", "consumer seek t", "dead list t", "dead retry t"] {
        assert_eq!(bash(sandbox, &format!("sse-busctl {words}")), ["thumbs"], "{words}");
    }
    assert_eq!(bash(sandbox, "sse-busctl subs"), ["subscribe"]);
    assert_eq!(bash(sandbox, "sse-busctl publish --reta"), ["--retain"]);
    assert_eq!(bash(sandbox, "sse-busctl completions z"), ["zsh"]);
}

#[test]
fn the_daemon_named_on_the_line_is_queried() {
    let daemon = daemon();
    let socket = daemon.sandbox.socket().display().to_string();
    let elsewhere = Sandbox::new();
    for named in [format!("--socket {socket}"), format!("--socket={socket}")] {
        assert_eq!(bash(&elsewhere, &format!("sse-busctl {named} publish bui")), ["build/web"], "{named}");
    }
}

#[test]
fn the_daemon_of_a_url_is_queried() {
    let daemon = daemon();
    let elsewhere = Daemon::start(&[]);
    let url = crate::remote::url(&daemon);
    elsewhere.publish("build/local", "x");
    let sandbox = &elsewhere.sandbox;
    assert_eq!(bash(sandbox, "sse-busctl publish bui"), ["build/local"]);
    assert_eq!(bash(sandbox, &format!("sse-busctl --url {url} publish bui")), ["build/web"]);
    let variable = |words: &str| bash_after(sandbox, &format!("unset SSE_BUS_SOCKET; export SSE_BUS_URL={url}"), words);
    assert_eq!(variable("sse-busctl publish bui"), ["build/web"]);
    let socket = sandbox.socket().display().to_string();
    assert_eq!(variable(&format!("sse-busctl --socket {socket} publish bui")), ["build/local"]);
    // Tokens are files of this machine.
    daemon.ctl(&["token", "create", "--name", "phone"]).ok();
    assert_eq!(variable("sse-busctl token revoke p"), [""; 0]);
}

#[test]
fn a_token_is_used_for_completions_of_a_url() {
    let (daemon, tokens) = Daemon::exposed(&["--allow-host", "127.0.0.1"]);
    daemon.request_locally("POST", "/events/build/web", "ok");
    let (admin, publish) = (daemon.sandbox.file("admin", &tokens.all), daemon.sandbox.file("publish", &tokens.publish));
    let url = crate::remote::url(&daemon);
    let offered =
        |file: &str| bash(&daemon.sandbox, &format!("sse-busctl --url {url} --token-file {file} publish bui"));
    assert_eq!(offered(&admin), ["build/web"]);
    assert_eq!(offered(&publish), [""; 0]);
}

#[test]
fn fish_completes_topics_and_clients_of_the_daemon() {
    let daemon = daemon();
    let _phone = daemon.stream("/events/t?client=phone");
    assert_eq!(fish(&daemon.sandbox, "sse-busctl publish bui"), ["build/web"]);
    assert_eq!(fish(&daemon.sandbox, "sse-busctl send p"), ["phone"]);
    assert_eq!(fish(&daemon.sandbox, "sse-busctl token revoke t"), ["tablet"]);
}

#[test]
fn zsh_completes_topics_and_clients_of_the_daemon() {
    let daemon = daemon();
    let _phone = daemon.stream("/events/t?client=phone");
    let mut zsh = zsh(&daemon.sandbox, "compinit -u -D; source <(sse-busctl completions zsh)");
    zsh.feed(b"sse-busctl publish bui\t");
    zsh.stdout.wait_for("build/web");
    zsh.feed(b"\x15sse-busctl send pho\t");
    zsh.stdout.wait_for("phone");
}

/// As packages install it.
#[test]
fn zsh_completes_the_first_word_from_a_file_in_fpath() {
    let daemon = daemon();
    let script = daemon.ctl(&["completions", "zsh"]).ok().stdout;
    std::fs::create_dir(daemon.sandbox.path("functions")).unwrap();
    daemon.sandbox.file("functions/_sse-busctl", script);
    let mut zsh = zsh(&daemon.sandbox, "fpath=(~/functions $fpath); compinit -u -D");
    zsh.feed(b"sse-busctl publish bui\t");
    zsh.stdout.wait_for("build/web");
}

/// No PowerShell is available here to run it.
#[test]
fn there_is_a_script_for_powershell() {
    let sandbox = Sandbox::new();
    let run = Process::start(sandbox.busctl(&["completions", "powershell"])).finish().ok();
    assert!(run.stdout.contains("Register-ArgumentCompleter -Native -CommandName sse-busctl"), "{run}");
}

#[test]
fn completion_without_a_daemon_is_silent_and_fast() {
    let sandbox = Sandbox::new();
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let mut busctl = sandbox.busctl(&["--", "sse-busctl", "publish", "b"]);
        busctl.env("SSE_BUS_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2");
        let began = Instant::now();
        let output = busctl.output().unwrap();
        best = best.min(began.elapsed());
        assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    }
    println!("completing without a daemon takes {best:?}");
    assert!(best < Duration::from_millis(100), "{best:?}");
    assert_eq!(bash(&sandbox, "sse-busctl publish b"), [""; 0]);
}

/// A suspended daemon accepts connections and sends nothing.
#[test]
fn completion_does_not_wait_for_an_unresponsive_daemon() {
    let daemon = daemon();
    daemon.suspend();
    let began = Instant::now();
    assert_eq!(bash(&daemon.sandbox, "sse-busctl publish b"), [""; 0]);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
