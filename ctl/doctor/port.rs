//! Whether the port is the daemon's, or free for it; else who has it.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use sse_bus::socket_owner;

use super::{
    Finding,
    service::Units,
    socket::{Daemon, Place},
};
use crate::listen::Listen;

/// How many ports behind a taken one are tried.
const OTHERS: u16 = 100;

/// Looks at each address at which the daemon listens, or would.
pub(super) fn look(daemon: &Daemon, listen: &[SocketAddr], place: &Place, service: Option<&Units>) -> Vec<Finding> {
    if let Daemon::Answers(status) = daemon {
        let urls = if status.urls.is_empty() { status.url.clone().into_iter().collect() } else { status.urls.clone() };
        return vec![match &urls[..] {
            [] => Finding::ok("port", "the daemon serves its local socket only"),
            urls => Finding::ok("port", format!("the daemon serves {}", urls.join(" and "))),
        }];
    }
    let usual = Listen::USUAL.addresses();
    let (addresses, rule) = match listen {
        [] => (&usual[..], "the usual port, whatever the configuration should say"),
        listen if *listen == *usual => (listen, "the usual port"),
        listen => (listen, "as the daemon is told"),
    };
    let elsewhere = || place.start_with(&format!("--listen {}", free(addresses)));
    addresses.iter().map(|address| look_at(*address, rule, service, elsewhere)).collect()
}

fn look_at(address: SocketAddr, rule: &str, service: Option<&Units>, elsewhere: impl Fn() -> String) -> Finding {
    // A free port is let go of at once.
    let Err(error) = TcpListener::bind(address) else {
        return Finding::ok("port", format!("{address}, {rule}, is free for the daemon"));
    };
    if error.kind() != io::ErrorKind::AddrInUse {
        return Finding::problem("port", format!("{address}, {rule}, cannot be listened on: {error}"), elsewhere());
    }
    match socket_owner::of_port(address) {
        Some(holder) if holder.name == "systemd" && service.is_some_and(Units::hold_the_port) => {
            Finding::ok("port", format!("{address} is held by systemd for the daemon"))
        }
        holder => {
            let holder =
                holder.map_or_else(|| "a process that this user may not look at".into(), |holder| holder.to_string());
            Finding::problem("port", format!("{address}, {rule}, is taken by {holder}"), elsewhere())
        }
    }
}

/// Where the daemon could listen instead: at the same address, or at both of loopback, on a port that is free there.
fn free(addresses: &[SocketAddr]) -> Listen {
    let (Some(first), is_one) = (addresses.first(), addresses.len() == 1) else { return Listen::Localhost(0) };
    let at = |port| if is_one { Listen::Address(SocketAddr::new(first.ip(), port)) } else { Listen::Localhost(port) };
    let is_free = |listen: &Listen| listen.addresses().into_iter().all(|address| TcpListener::bind(address).is_ok());
    let others = (1..=OTHERS).filter_map(|n| Some(at(first.port().checked_add(n)?)));
    others.into_iter().find(is_free).unwrap_or(Listen::Localhost(0))
}
