//! Exit codes follow what happened: the same for every command, over the local socket and over HTTP, whether the command
//! line or the daemon notices.

use crate::harness::Daemon;

/// The arguments of a command, and its exit code.
type Case = (&'static [&'static str], i32);

const CASES: &[Case] = &[
    // Topics.
    (&["publish", "a//b", "x"], 2),
    (&["publish", "", "x"], 2),
    (&["publish", "a/*", "x"], 2),
    (&["publish", "$sys/clients", "x"], 2),
    (&["publish", "a//b", "x", "--wait-for", "1"], 2),
    (&["publish", "a//b", "--lines"], 2),
    (&["publish", "a//b", "x", "--every", "1s", "--count", "1"], 2),
    (&["send", "c1", "x", "--topic", "a//b"], 2),
    // Filters.
    (&["subscribe", "a/**/b"], 2),
    (&["history", "a/**/b"], 2),
    (&["url", "a/**/b"], 2),
    // Positions.
    (&["subscribe", "t", "--since", "soon"], 2),
    (&["history", "t", "--since", "soon"], 2),
    // Other values.
    (&["publish", "t", "x", "--type", "a\nb"], 2),
    (&["publish", "t", "x", "--header", "a=1", "--header", "A=2"], 2),
    (&["publish", "t", "x", "--to", "nobody", "--retain"], 2),
    (&["subscribe", "t", "--client", "c12"], 2),
    (&["subscribe", "t", "--slow", "never"], 2),
    // Clients.
    (&["kick", "nobody"], 4),
    (&["kick", "c999"], 4),
    (&["send", "nobody", "x"], 4),
    (&["publish", "t", "x", "--to", "nobody"], 4),
    (&["publish", "t", "--lines", "--to", "nobody"], 4),
    (&["publish", "t", "x", "--wait-for", "1", "--timeout", "0s"], 4),
    // Consumers.
    (&["consumer", "create", "a b", "t"], 2),
    (&["consumer", "create", "q", "a//b"], 2),
    (&["consumer", "create", "q", "t", "--from", "soon"], 2),
    (&["consumer", "create", "q", "t", "--backoff", "soon"], 2),
    (&["consumer", "create", "q", "t", "--backoff", "1s,10s", "--on-full", "drop"], 0),
    (&["consumer", "create", "q", "t", "--backoff", "1s,10s", "--on-full", "drop"], 0),
    (&["consumer", "create", "q", "u"], 1),
    (&["consumer", "show", "nobody"], 4),
    (&["consumer", "pause", "q"], 0),
    (&["consumer", "resume", "q"], 0),
    (&["consumer", "seek", "q", "all"], 0),
    (&["consumer", "seek", "nobody", "all"], 4),
    (&["work", "nobody"], 4),
    (&["work", "nobody", "--exec", "true"], 4),
    (&["work", "q", "--timeout", "1s"], 2),
    (&["dead", "list", "q"], 0),
    (&["dead", "list", "nobody"], 4),
    (&["dead", "retry", "q", "k3f9x0ab-1"], 4),
    (&["dead", "drop", "q", "--all"], 0),
    (&["dead", "drop", "q"], 2),
    (&["consumer", "delete", "q"], 0),
    (&["consumer", "delete", "q"], 4),
    // The rest.
    (&["publish", "t", "x"], 0),
    (&["publish", "t", "x", "--ack", "durable"], 1),
    (&["subscribe", "t", "--since", "now", "--count", "1", "--timeout", "0s"], 5),
];

/// Runs every command with more arguments before it.
fn check(daemon: &Daemon, before: &[&str], cases: &[Case]) {
    for (arguments, code) in cases {
        let run = daemon.ctl_fed(&[before, arguments].concat(), b"line\n");
        assert_eq!(run.code, Some(*code), "{arguments:?}\n{run}");
    }
}

#[test]
fn exit_codes_follow_what_happened_over_the_local_socket() {
    check(&Daemon::start(&[]), &[], CASES);
}

#[test]
fn exit_codes_follow_what_happened_over_http() {
    let daemon = Daemon::start(&[]);
    check(&daemon, &["--url", &format!("http://{}", daemon.address)], CASES);
}

#[test]
fn an_absent_daemon_and_a_limit_have_codes_of_their_own() {
    let mut daemon = Daemon::configured("[limits]\nevent_bytes = 4\ntopics = 1\n");
    let url = format!("http://{}", daemon.address);
    for before in [&[][..], &["--url", &url]] {
        let limits: &[Case] =
            &[(&["publish", "t", "12345"], 7), (&["publish", "t", "123"], 0), (&["publish", "u", "1"], 7)];
        check(&daemon, before, limits);
    }
    daemon.kill();
    for before in [&[][..], &["--url", &url]] {
        let commands: &[Case] = &[
            (&["publish", "t", "x"], 3),
            (&["publish", "t", "--lines"], 3),
            (&["subscribe", "t"], 3),
            (&["history", "t"], 3),
            (&["send", "a", "x"], 3),
            (&["kick", "a"], 3),
            (&["clients"], 3),
            (&["topics"], 3),
            (&["status"], 3),
            (&["consumer", "list"], 3),
            (&["work", "q"], 3),
            (&["dead", "list", "q"], 3),
            (&["url"], 3),
        ];
        check(&daemon, before, commands);
    }
}
