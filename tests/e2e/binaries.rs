//! What the programs contain.
#![cfg(debug_assertions)]

use std::process::Command;

/// The daemon asks another one for its status over the local socket. With a `Client` for that, a third of its code would be
/// the client for HTTP and TLS.
#[test]
fn the_daemon_does_not_contain_the_client_for_http() {
    let has_client = |program: &str| {
        let found =
            Command::new("grep").args(["--quiet", "--text", "--fixed-strings", "6client6remote", program]).status();
        found.unwrap().success()
    };
    assert!(has_client(env!("CARGO_BIN_EXE_sse-busctl")), "names of functions are found");
    assert!(!has_client(env!("CARGO_BIN_EXE_sse-busd")));
}
