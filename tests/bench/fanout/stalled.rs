//! The cost of readers that never read: the memory of TCP, as the kernel counts it, and the daemon's.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use super::{
    Result,
    daemon::{Daemon, On, PATIENCE, Publisher, event},
    line, mebibytes,
};

const READERS: usize = 1000;
/// Events of 1,000 bytes: more than any socket buffers.
const EVENTS: usize = 20_000;

pub(super) fn run() -> Result<()> {
    let daemon = Daemon::start(On::All, &[])?;
    let mut publisher = daemon.publisher()?;
    // History is filled before, so that it is not counted.
    publish(&mut publisher)?;
    let (tcp, resident) = (tcp_memory()?, daemon.resident()?);
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut socket = TcpStream::connect(daemon.address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        write!(socket, "GET /events/bench?since=now HTTP/1.1\r\nHost: {}\r\n\r\n", daemon.address)?;
        // After a byte of the response it is a subscriber.
        socket.read_exact(&mut [0])?;
        readers.push(socket);
    }
    publish(&mut publisher)?;
    let delivered = settled(&mut publisher)?;
    let (tcp, resident) = (tcp_memory()? - tcp, daemon.resident()? - resident);
    if publisher.status()?["subscribers"] != READERS {
        return Err("readers were closed before they were measured".into());
    }
    line("1,000 readers that never read: memory of TCP", &mebibytes(tcp), "", "below 300 MiB");
    line("  memory of the daemon", &mebibytes(resident), "", "below 64 MiB");
    line("  events that each socket took", &format!("{}", delivered / READERS as u64), "", "–");
    Ok(())
}

fn publish(publisher: &mut Publisher) -> Result<()> {
    let hundred = event("bench", &"x".repeat(1000)).repeat(100);
    for _ in 0..EVENTS / 100 {
        publisher.send(&hundred)?;
    }
    publisher.status()?;
    Ok(())
}

/// Waits until the sockets accept no more. Returns the number of delivered events.
fn settled(publisher: &mut Publisher) -> Result<u64> {
    let mut before = None;
    for _ in 0..100 {
        let delivered = publisher.status()?["delivered"].as_u64();
        if before.is_some() && delivered == before {
            break;
        }
        before = delivered;
        thread::sleep(Duration::from_millis(200));
    }
    before.ok_or_else(|| "the daemon does not tell what was delivered".into())
}

/// Bytes of TCP buffers on the whole machine.
fn tcp_memory() -> Result<i64> {
    let sockets = fs::read_to_string("/proc/net/sockstat")?;
    let tcp = sockets.lines().find_map(|line| line.strip_prefix("TCP:")).unwrap_or_default();
    let pages = tcp.split_whitespace().skip_while(|word| *word != "mem").nth(1);
    Ok(pages.ok_or("the system does not tell the memory of TCP")?.parse::<i64>()?
        * i64::try_from(rustix::param::page_size())?)
}
