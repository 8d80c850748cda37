//! Checks that the port belongs to the daemon or is free, and otherwise names the process that uses it.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use sse_bus::{listen::Listen, shell::quoted, socket_owner};

use super::{
    finding::Finding,
    service::Units,
    target::{Daemon, Target},
};

/// Number of ports to try after one that is in use.
const OTHERS: u16 = 100;

/// Checks each address at which the daemon listens, or would listen.
pub(super) fn check(daemon: &Daemon, listen: &[SocketAddr], target: &Target, service: Option<&Units>) -> Vec<Finding> {
    if let Daemon::Responds(status) = daemon {
        let urls = if status.urls.is_empty() { status.url.clone().into_iter().collect() } else { status.urls.clone() };
        return vec![match &urls[..] {
            [] => Finding::ok("port", "the daemon serves only its local socket"),
            urls => Finding::ok("port", format!("the daemon serves {}", urls.join(" and "))),
        }];
    }
    let default = Listen::USUAL.addresses();
    let (addresses, rule) = match listen {
        [] => (&default[..], "the default port, because the configuration is unknown"),
        listen if *listen == *default => (listen, "the default port"),
        listen => (listen, "as configured"),
    };
    let elsewhere = || target.start_with(&format!("--listen {}", free(addresses)));
    addresses.iter().map(|address| check_address(*address, rule, service, elsewhere)).collect()
}

fn check_address(address: SocketAddr, rule: &str, service: Option<&Units>, elsewhere: impl Fn() -> String) -> Finding {
    // The socket is closed at once.
    let Err(error) = TcpListener::bind(address) else {
        return Finding::ok("port", format!("{address}, {rule}, is free for the daemon"));
    };
    if error.kind() != io::ErrorKind::AddrInUse {
        return Finding::problem("port", format!("cannot listen on {address}, {rule}: {error}"), elsewhere());
    }
    match socket_owner::of_port(address) {
        Some(owner) if owner.name == "systemd" && service.is_some_and(Units::hold_the_port) => {
            Finding::ok("port", format!("systemd listens on {address} for the daemon"))
        }
        _ if let Some(daemon) = socket_owner::own_daemons(&[address]).first() => {
            let Some(socket) = daemon.sockets.first().map(|path| path.display().to_string()) else {
                let message = format!("{address}, {rule}, is served by your own daemon (process {})", daemon.pid);
                return Finding::problem("port", message, "env -u SSE_BUS_SOCKET sse-busctl doctor");
            };
            let message =
                format!("{address}, {rule}, is served by your own daemon (process {}) at {socket}", daemon.pid);
            Finding::problem("port", message, format!("sse-busctl --socket {} doctor", quoted(&socket)))
        }
        owner => {
            let owner = owner.map_or_else(|| "an unknown process".into(), |owner| owner.to_string());
            Finding::problem("port", format!("{address}, {rule}, is in use by {owner}"), elsewhere())
        }
    }
}

/// Returns an alternative: the same address, or both loopback addresses, with a free port.
fn free(addresses: &[SocketAddr]) -> Listen {
    let (Some(first), is_one) = (addresses.first(), addresses.len() == 1) else { return Listen::Localhost(0) };
    let at = |port| if is_one { Listen::Address(SocketAddr::new(first.ip(), port)) } else { Listen::Localhost(port) };
    let is_free = |listen: &Listen| listen.addresses().into_iter().all(|address| TcpListener::bind(address).is_ok());
    let others = (1..=OTHERS).filter_map(|n| Some(at(first.port().checked_add(n)?)));
    others.into_iter().find(is_free).unwrap_or(Listen::Localhost(0))
}
