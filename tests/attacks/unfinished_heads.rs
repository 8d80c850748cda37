//! Unauthenticated peers that begin requests and never finish them: together they use a bounded amount of memory, and
//! authorized clients are served beside them.

use std::io::Write;

use sse_bus::limits::{HEAD_MAX, UNAUTHENTICATED_BYTES};

use crate::{
    harness::{Daemon, Process, Sandbox, until},
    measure::{alone, descriptors, resident},
};

/// Connections of each kind: without a bound they would use three times the allowed memory.
const PEERS: usize = 3 * UNAUTHENTICATED_BYTES / HEAD_MAX;
/// KiB that the connections may use in addition: the tasks of closed ones as well.
const BESIDES: usize = 32 << 10;

/// A daemon that other machines reach, so that every TCP connection needs a token, and a token.
fn exposed() -> (Daemon, String) {
    let sandbox = Sandbox::new();
    let made = Process::start(sandbox.busctl(&["token", "create", "--json", "--name", "all"])).finish().ok();
    let token = format!("Bearer {}", made.json()[0]["token"].as_str().unwrap());
    let socket = sandbox.socket().display().to_string();
    let flags = ["--no-config", "--log", "warn", "--listen", "0.0.0.0:0", "--insecure", "--socket", &socket];
    let flags = flags.iter().map(ToString::to_string).collect();
    (Daemon::of_command(sandbox, flags, |_| {}), token)
}

#[test]
fn unfinished_heads_of_unauthenticated_peers_share_a_bounded_amount_of_memory() {
    let _alone = alone();
    let (daemon, token) = exposed();
    let head = format!("GET /events HTTP/1.1\r\nHost: bus\r\nX: {}", "x".repeat(HEAD_MAX - 1000));
    // Headers of 16,384 bytes are announced; settings come first.
    let frames =
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\x40\0\x01\x04\0\0\0\x01"[..], &[0x82; 16_000]];
    for (kind, begin) in [("HTTP/1.1", head.into_bytes()), ("HTTP/2", frames.concat())] {
        let (before, open) = (resident(&daemon), descriptors(&daemon));
        let mut peers = Vec::new();
        let mut most = 0;
        for n in 0..PEERS {
            let mut peer = daemon.tcp();
            // The daemon may have closed it meanwhile.
            let _ = peer.write_all(&begin);
            peers.push(peer);
            if n % 64 == 63 {
                most = most.max(resident(&daemon));
                // Large heads of the daemon's user are served on the local socket, and those of clients with a token.
                let large = "y".repeat(HEAD_MAX / 2);
                let headers = [("X", &*large), ("Authorization", &*token)];
                let local = daemon.request_locally_with("POST", "/events/t", &headers[..1], "x");
                let remote = daemon.request("POST", "/events/t", &headers, "x");
                assert_eq!((local.status, remote.status), (202, 202), "beside {n} peers, {kind}");
            }
        }
        most = most.max(resident(&daemon));
        let more = most.saturating_sub(before);
        eprintln!("{PEERS} unfinished heads, {kind}: memory up by {more} KiB");
        assert!(more < UNAUTHENTICATED_BYTES / 1024 + BESIDES, "{kind}: memory is up by {more} KiB");
        drop(peers);
        until("they are closed", || (descriptors(&daemon) <= open).then_some(()));
    }
}
