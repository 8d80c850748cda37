//! One attack: what is sent, how the daemon must react, and what it may cost.

use std::{
    io::ErrorKind,
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{Daemon, http::Socket},
    measure::{OtherPublisher, resident},
};

/// Concurrent attacking connections.
const ATTACKERS: usize = 8;
/// KiB of memory that each may cost.
const MEMORY: usize = 1024;
/// Rounds; the best one is compared, since the attackers themselves use the processors.
const ROUNDS: usize = 3;
/// Large without optimization, where an attack keeps both processors busy for this long.
const SLACK: Duration = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 50 });
/// Without a timeout of the daemon, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The transport.
#[derive(Clone, Copy)]
pub(crate) enum Transport {
    Tcp,
    Local,
}

/// How the daemon must react.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Reaction {
    /// It answers with a text that contains this, and may close the connection.
    Answers(&'static str),
    /// It closes the connection, with or without a reply.
    Closes,
    /// It waits for more bytes, or for the peer to read.
    Waits,
}

pub(crate) struct Attack {
    name: &'static str,
    transport: Transport,
    begin: Vec<u8>,
    /// Sent repeatedly after `begin`, until the daemon closes the connection.
    again: Vec<u8>,
    times: usize,
    reaction: Reaction,
}

/// An attack that sends this once.
pub(crate) fn attack(
    name: &'static str,
    transport: Transport,
    begin: impl Into<Vec<u8>>,
    reaction: Reaction,
) -> Attack {
    Attack { name, transport, begin: begin.into(), again: Vec::new(), times: 0, reaction }
}

impl Attack {
    /// Sends this after it, a number of times.
    pub(crate) fn and_again(self, again: impl Into<Vec<u8>>, times: usize) -> Attack {
        Attack { again: again.into(), times, ..self }
    }
}

/// A connection whose reads and writes time out after [`AT_ONCE`].
fn connect(daemon: &Daemon, transport: Transport) -> Box<dyn Socket> {
    match transport {
        Transport::Tcp => {
            let socket = daemon.tcp();
            socket.set_read_timeout(Some(AT_ONCE)).and(socket.set_write_timeout(Some(AT_ONCE))).unwrap();
            Box::new(socket)
        }
        Transport::Local => {
            let socket = daemon.local();
            socket.set_read_timeout(Some(AT_ONCE)).and(socket.set_write_timeout(Some(AT_ONCE))).unwrap();
            Box::new(socket)
        }
    }
}

/// Attacks once, and returns the connection, so that it is still open when memory is measured.
fn run(attack: &Attack, daemon: &Daemon) -> Box<dyn Socket> {
    let Attack { name, transport, begin, again, times, reaction } = attack;
    let mut socket = connect(daemon, *transport);
    let mut sent = socket.write_all(begin);
    for _ in 0..*times {
        // A daemon that has closed the connection accepts no more bytes.
        sent = sent.and_then(|()| socket.write_all(again));
    }
    let stuck = *reaction != Reaction::Waits
        && sent.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert!(!stuck, "{name}: the daemon neither reads nor closes");
    if *reaction == Reaction::Waits {
        return socket;
    }
    let (mut reply, mut chunk) = (Vec::new(), [0; 4096]);
    let closed = loop {
        match socket.read(&mut chunk) {
            Ok(0) => break true,
            Ok(read) => reply.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
            // Unread bytes made the system reset the connection.
            Err(_) => break true,
        }
        if matches!(reaction, Reaction::Answers(code) if String::from_utf8_lossy(&reply).contains(code)) {
            return socket;
        }
    };
    let reply = String::from_utf8_lossy(&reply);
    assert!(
        closed && *reaction == Reaction::Closes,
        "{name}: closed: {closed}, within {AT_ONCE:?} this came: {reply:.300}"
    );
    socket
}

/// Runs each attack, and checks the daemon's reaction, its memory, and that another publisher waits no longer.
pub(crate) fn withstand(daemon: &Daemon, attacks: &[Attack]) {
    let others = OtherPublisher::start(daemon);
    // A warm-up: allocations of the first use are not counted.
    for attack in attacks {
        drop(run(attack, daemon));
    }
    others.begin();
    let usual = others.latencies(500);
    eprintln!("others before: {usual}");
    for attack in attacks {
        let unnoticed = (0..ROUNDS).any(|_| {
            let before = resident(daemon);
            others.begin();
            let began = Instant::now();
            let held: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> = (0..ATTACKERS).map(|_| scope.spawn(|| run(attack, daemon))).collect();
                threads.into_iter().map(|thread| thread.join().expect("see above")).collect()
            });
            let took = began.elapsed();
            let latencies = others.latencies(50);
            let more = resident(daemon).saturating_sub(before);
            drop(held);
            eprintln!("{:<40} {took:>9.2?}, memory up by {more:>5} KiB; others: {latencies}", attack.name);
            assert!(more < ATTACKERS * MEMORY, "{}: memory is up by {more} KiB", attack.name);
            latencies.p(99) <= usual.p(99) * 2 + SLACK
        });
        assert!(unnoticed, "{}: others waited longer than before, {usual}", attack.name);
    }
}
