//! Whether the port is the daemon's, or free for it; else who has it.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use super::{
    Finding,
    place::{Daemon, Place},
    service::Units,
};

#[path = "../../daemon/holder.rs"]
mod holder;

/// Where the daemon listens unless it is told otherwise.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7733);
/// How many ports behind a taken one are tried.
const OTHERS: u16 = 100;

pub(super) fn look(daemon: &Daemon, listen: Option<SocketAddr>, place: &Place, service: Option<&Units>) -> Finding {
    if let Daemon::Answers(status) = daemon {
        return match &status.url {
            Some(url) => Finding::ok("port", format!("the daemon serves {url}")),
            None => Finding::ok("port", "the daemon serves its local socket only"),
        };
    }
    let (address, rule) = match listen {
        Some(USUAL) => (USUAL, "the usual port"),
        Some(address) => (address, "as the daemon is told"),
        None => (USUAL, "the usual port, whatever the configuration should say"),
    };
    // A free port is let go of at once.
    let Err(error) = TcpListener::bind(address) else {
        return Finding::ok("port", format!("{address}, {rule}, is free for the daemon"));
    };
    let elsewhere = || {
        let mut others =
            (1..=OTHERS).filter_map(|n| Some(SocketAddr::new(address.ip(), address.port().checked_add(n)?)));
        let free = others.find(|other| TcpListener::bind(other).is_ok());
        let free = free.map_or("127.0.0.1:0".into(), |free| free.to_string());
        place.start_with(&format!("--listen {free}"))
    };
    if error.kind() != io::ErrorKind::AddrInUse {
        return Finding::problem("port", format!("{address}, {rule}, cannot be listened on: {error}"), elsewhere());
    }
    match holder::of_port(address) {
        Some(holder) if holder.starts_with("systemd ") && service.is_some_and(Units::hold_the_port) => {
            Finding::ok("port", format!("{address} is held by systemd for the daemon"))
        }
        holder => {
            let holder = holder.unwrap_or_else(|| "a process that this user may not look at".into());
            Finding::problem("port", format!("{address}, {rule}, is taken by {holder}"), elsewhere())
        }
    }
}
