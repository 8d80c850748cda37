//! Ports for servers that are stopped and started again on the same address.

use std::{
    collections::HashSet,
    fs,
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, TcpListener},
    sync::{LazyLock, Mutex},
};

/// The first port that the system gives to outgoing connections, if it does not say.
const EPHEMERAL: u16 = 32_768;
const FIRST: u16 = 12_000;

/// Ports that this process has returned before.
static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// Returns a free port of the loopback interface, below those of outgoing connections: while its server is down, no client takes
/// it, and no client that tries to reconnect connects to itself.
pub fn stable_port() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let end = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(EPHEMERAL);
    assert!(end > FIRST, "outgoing connections may take every port from {end}");
    let mut taken = TAKEN.lock().unwrap();
    loop {
        let random = RandomState::new().hash_one(taken.len());
        let port = FIRST + (random % u64::from(end - FIRST)) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && taken.insert(port) {
            return port;
        }
    }
}
