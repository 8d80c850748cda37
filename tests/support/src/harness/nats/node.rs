//! A daemon whose log is on NATS.

use crate::harness::{Daemon, Sandbox, ports::stable_port};

/// The flags of a node, with a port that it keeps when it is started again.
pub fn node_flags(sandbox: &Sandbox, servers: &str, bus: &str, name: &str) -> Vec<String> {
    let (socket, listen) = (sandbox.socket().display().to_string(), format!("127.0.0.1:{}", stable_port()));
    let flags = [
        "--no-config",
        "--listen",
        &listen,
        "--socket",
        &socket,
        "--history",
        "nats",
        "--nats",
        servers,
        "--nats-bus",
        bus,
        "--nats-node",
        name,
        "--nats-create",
    ];
    flags.map(str::to_owned).to_vec()
}

/// Starts a node of a bus, which creates the streams if there are none.
pub fn node(servers: &str, bus: &str, name: &str, flags: &[&str]) -> Daemon {
    let sandbox = Sandbox::new();
    let mut all = node_flags(&sandbox, servers, bus, name);
    all.extend(flags.iter().map(ToString::to_string));
    Daemon::of_command(sandbox, all, |_| {})
}
