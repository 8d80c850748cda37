//! Slow peers: a connection without a complete request head is closed after 10 s, one with an incomplete request after
//! 30 s.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use sse_bus::{
    limits::{FIRST_BYTE, REQUEST},
    protocol::binary,
};

use crate::{
    harness::Daemon,
    measure::{OtherPublisher, alone, descriptors, processor_time, resident},
};

/// Delay by which a peer with a slow head may be closed too late: two or three seconds on a busy machine.
const LATE: Duration = Duration::from_secs(3);
/// Slow connections of each kind in the large test.
const EACH: usize = 100;

/// A connection that can be polled.
trait Peer: Read + Write {
    fn dont_wait(&self);
}

impl Peer for TcpStream {
    fn dont_wait(&self) {
        self.set_nonblocking(true).unwrap();
    }
}

impl Peer for UnixStream {
    fn dont_wait(&self) {
        self.set_nonblocking(true).unwrap();
    }
}

/// The bytes of a slow peer.
struct Slow {
    name: &'static str,
    /// Sent at once.
    begin: Vec<u8>,
    /// Sent a byte per second, repeatedly.
    then: &'static [u8],
    local: bool,
    deadline: Duration,
}

fn kinds(daemon: &Daemon) -> Vec<Slow> {
    let preface = |frame: &[u8]| [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], frame].concat();
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    let post = format!("POST /events/t HTTP/1.1\r\nHost: {}\r\nContent-Length: 9000\r\n\r\n", daemon.address);
    let mut kinds = Vec::new();
    let mut kind = |name, begin: &[u8], then, local, deadline| {
        kinds.push(Slow { name, begin: begin.to_vec(), then, local, deadline });
    };
    for local in [false, true] {
        kind("nothing", b"", b"", local, FIRST_BYTE);
        kind("a head, byte by byte", b"GET /events/t HTTP/1.1\r\n", b"a: b\r\n", local, FIRST_BYTE);
        kind("half a head", b"GET /events/t HTTP/1.1\r\nHost", b"", local, FIRST_BYTE);
        kind("a body, byte by byte", post.as_bytes(), b"x", local, REQUEST);
    }
    kind("half the preface of HTTP/2", b"PRI * HTTP/2.0", b"", false, FIRST_BYTE);
    kind("HTTP/2 and nothing", &preface(b""), b"", false, FIRST_BYTE);
    kind("HTTP/2 and settings", &preface(settings), b"", false, FIRST_BYTE);
    // 16,384 bytes of headers are announced.
    let headers = [&settings[..], b"\0\x40\0\x01\x04\0\0\0\x01"].concat();
    kind("HTTP/2 headers, byte by byte", &preface(&headers), b"\x82", false, FIRST_BYTE);
    kind("half the binary preface", b"\0SS", b"", true, FIRST_BYTE);
    kind("a line, byte by byte", b"{\"publish\":{\"topic\":\"t\",\"data\":\"", b"x", true, REQUEST);
    let frame = [&binary::PREFACE[..], b"\xff\0\0\0"].concat();
    kind("a frame, byte by byte", &frame, b"x", true, REQUEST);
    kinds
}

/// Whether the daemon has closed the connection.
fn is_cut(peer: &mut Box<dyn Peer>) -> bool {
    let mut chunk = [0; 1024];
    loop {
        match peer.read(&mut chunk) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
}

#[test]
fn slow_and_silent_peers_are_closed_and_no_other_client_waits() -> io::Result<()> {
    let _alone = alone();
    let daemon = Daemon::start(&[]);
    let others = OtherPublisher::start(&daemon);
    others.begin();
    let usual = others.latencies(500);
    let (memory, open, cpu) = (resident(&daemon), descriptors(&daemon), processor_time(&daemon));
    let kinds = kinds(&daemon);
    let began = Instant::now();
    let mut connections: Vec<(&Slow, Box<dyn Peer>)> = Vec::new();
    for kind in &kinds {
        // Over 500 in all with a slow head.
        let many = if kind.deadline == FIRST_BYTE { EACH } else { 5 };
        for _ in 0..many {
            let mut peer: Box<dyn Peer> = if kind.local { Box::new(daemon.local()) } else { Box::new(daemon.tcp()) };
            peer.write_all(&kind.begin)?;
            peer.dont_wait();
            connections.push((kind, peer));
        }
    }
    let (all, ready) = (connections.len(), began.elapsed());
    others.begin();
    let mut cut: BTreeMap<&str, (Duration, Duration)> = BTreeMap::new();
    let mut second = 0;
    while !connections.is_empty() {
        assert!(
            began.elapsed() < REQUEST + ready + LATE * 2,
            "{} are still there: {}",
            connections.len(),
            connections[0].0.name
        );
        if began.elapsed().as_secs() > second {
            second = began.elapsed().as_secs();
            for (kind, peer) in connections.iter_mut().filter(|(kind, _)| !kind.then.is_empty()) {
                let byte = second as usize % kind.then.len();
                // Where it fails, the connection is closed.
                let _ = peer.write(&kind.then[byte..=byte]);
            }
        }
        connections.retain_mut(|(kind, peer)| {
            if !is_cut(peer) {
                return true;
            }
            let after = began.elapsed();
            let (first, last) = cut.entry(kind.name).or_insert((after, after));
            (*first, *last) = ((*first).min(after), (*last).max(after));
            assert!(after > kind.deadline.mul_f64(0.9), "{}: cut after {after:?} already", kind.name);
            assert!(after < kind.deadline + ready + LATE, "{}: cut only after {after:?}", kind.name);
            false
        });
        thread::sleep(Duration::from_millis(20));
    }
    for (name, (first, last)) in &cut {
        eprintln!("{name:<32} cut after {first:.1?} to {last:.1?}");
    }
    let busy = processor_time(&daemon).saturating_sub(cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    let (latencies, more) = (others.latencies(1000), resident(&daemon).saturating_sub(memory));
    eprintln!("{all} connections within {ready:.1?}: memory up by {more} KiB, {:.1} % of a processor", busy * 100.0);
    eprintln!("others before: {usual}; beside them: {latencies}");
    assert!(more < all * 64, "memory is up by {more} KiB for {all} connections");
    crate::harness::until("their descriptors are closed", || (descriptors(&daemon) <= open).then_some(()));
    Ok(())
}
