//! Subscribers connect and disconnect, a hundred thousand times, in every way in which a peer can. No resource may
//! remain.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::{
    Result,
    daemon::{Daemon, On, PATIENCE, Publisher},
    line, mebibytes,
};

const CYCLES: usize = 100_000;
const THREADS: usize = 8;

pub(super) fn run() -> Result<()> {
    let daemon = Daemon::start(On::All, &[])?;
    let mut publisher = daemon.publisher()?;
    // Allocations made only once are made before, and history fills with presence events.
    cycles(&daemon, CYCLES / 4)?;
    alone(&daemon, &mut publisher)?;
    let (descriptors, resident, began) = (daemon.descriptors()?, daemon.resident()?, Instant::now());
    cycles(&daemon, CYCLES)?;
    let took = began.elapsed();
    alone(&daemon, &mut publisher)?;
    let (after, grown) = (daemon.descriptors()?, daemon.resident()? - resident);
    let rate = format!("{:.0} /s", CYCLES as f64 / took.as_secs_f64());
    line("100,000 times connect, subscribe, leave", &rate, "", "–");
    line("  descriptors before and after", &format!("{descriptors}, {after}"), "", "the same");
    line("  memory after, more than before", &mebibytes(grown), "", "about 0");
    Ok(())
}

/// Connects, reads the response, and disconnects: closes, resets, closes one direction, or leaves before it reads.
fn cycles(daemon: &Daemon, cycles: usize) -> Result<()> {
    let request = format!("GET /events/bench HTTP/1.1\r\nHost: {}\r\n\r\n", daemon.address);
    let cycle = |number: usize| -> Result<()> {
        let mut socket = TcpStream::connect(daemon.address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(request.as_bytes())?;
        let mut response = [0; 1024];
        match number % 4 {
            0 => drop(socket.read(&mut response)?),
            // Unread bytes make it a reset.
            1 => socket.read_exact(&mut response[..1])?,
            2 => {
                socket.shutdown(Shutdown::Write)?;
                while socket.read(&mut response)? > 0 {}
            }
            _ => {}
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| (0..cycles / THREADS).try_for_each(cycle))).collect();
        for thread in threads {
            thread.join().map_err(|_| "a thread has panicked")??;
        }
        Ok(())
    })
}

/// Waits until the publisher is the daemon's only client.
fn alone(daemon: &Daemon, publisher: &mut Publisher) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut descriptors = 0;
    loop {
        let subscribers = publisher.status()?["subscribers"].as_u64();
        let now = daemon.descriptors()?;
        if subscribers == Some(0) && now == descriptors {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("{subscribers:?} subscribers do not leave, {now} descriptors stay").into());
        }
        descriptors = now;
        thread::sleep(Duration::from_millis(200));
    }
}
