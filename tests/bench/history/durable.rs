//! Durable publishes a second of 64 publishers, beside a bare loop that appends the same bytes to
//! a file on the same disk and calls `fdatasync` as often as the daemon did, which counts its commits.
//!
//! Publishers wait for their replies before they send more: one event each, or several at once. They are sockets in one
//! thread, so that they take little processor time from the daemon.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sse_bus::protocol::Ack;

use super::{
    Result,
    daemon::{Connection, Daemon, FULL, History, PATIENCE, directory, publish},
    line, median,
};

const PUBLISHERS: usize = 64;
const ROUNDS: usize = 5;
/// The duration of a round.
const ROUND: Duration = Duration::from_secs(2);
/// Events that a publisher sends at once.
const AT_ONCE: [usize; 2] = [1, 16];

/// The result of a round.
struct Reached {
    events: usize,
    commits: usize,
    /// Seconds that one commit took.
    commit: f64,
    rate: f64,
}

pub(super) fn run() -> Result<()> {
    let directory = directory()?;
    let daemon = Daemon::start(History::Disk, FULL, &directory.path().join("state"))?;
    let frame = publish("bench", &"x".repeat(200), Ack::Durable);
    for at_once in AT_ONCE {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let reached = published(&daemon, &frame.repeat(at_once), at_once)?;
            let rate = appended(directory.path(), &frame, &reached)?;
            rounds.push((reached, rate));
        }
        let of = |figure: fn(&(Reached, f64)) -> f64| median(rounds.iter().map(figure).collect());
        let group = of(|(reached, _)| reached.events as f64 / reached.commits as f64);
        let bare = of(|(_, rate)| *rate);
        line(&format!("bare loop: append {group:.0} events, fdatasync"), &format!("{bare:.0} events/s"), "", "–");
        let what = format!("durable from {PUBLISHERS} publishers, {at_once} at once from each");
        let durable = format!("{:.0} events/s", of(|(reached, _)| reached.rate));
        let ratio = of(|(reached, rate)| reached.rate / rate);
        line(&what, &durable, &format!("{ratio:.2}"), "at least 0.8");
        let commit = format!("{:.2} ms", 1e3 * of(|(reached, _)| reached.commit));
        let ratio = of(|(reached, rate)| reached.events as f64 / reached.commits as f64 / rate / reached.commit);
        line("  one commit, beside one turn of the loop", &commit, &format!("{ratio:.2}"), "–");
    }
    Ok(())
}

/// Publishes for a while.
fn published(daemon: &Daemon, frames: &[u8], at_once: usize) -> Result<Reached> {
    let mut publishers = (0..PUBLISHERS).map(|_| daemon.connect()).collect::<Result<Vec<_>>>()?;
    // Events whose replies each waits for.
    let mut outstanding = [at_once; PUBLISHERS];
    let (before, began, mut events) = (daemon.commits()?, Instant::now(), 0);
    for publisher in &mut publishers {
        publisher.send(frames)?;
    }
    while outstanding.iter().any(|left| *left > 0) {
        let ready = ready(&publishers)?;
        for ((publisher, left), _) in publishers.iter_mut().zip(&mut outstanding).zip(ready).filter(|(_, ready)| *ready)
        {
            let answered = publisher.replies()?;
            (events, *left) = (events + answered, *left - answered);
            if *left == 0 && began.elapsed() < ROUND {
                *left = at_once;
                publisher.send(frames)?;
            }
        }
    }
    let took = began.elapsed();
    let after = daemon.commits()?;
    let commits = after.0 - before.0;
    let commit = (after.1 - before.1) / commits as f64;
    Ok(Reached { events, commits, commit, rate: events as f64 / took.as_secs_f64() })
}

/// Waits until some have replies. Returns which.
fn ready(publishers: &[Connection]) -> Result<Vec<bool>> {
    let mut sockets: Vec<_> = publishers.iter().map(|one| PollFd::new(&one.socket, PollFlags::IN)).collect();
    match poll(&mut sockets, Some(&Timespec::try_from(PATIENCE)?))? {
        0 => Err("the daemon does not answer".into()),
        _ => Ok(sockets.iter().map(|socket| !socket.revents().is_empty()).collect()),
    }
}

/// Appends as many events to a file, in as many groups. Returns events a second.
fn appended(directory: &Path, frame: &[u8], reached: &Reached) -> Result<f64> {
    let path = directory.join("bare");
    let mut file = File::create(&path)?;
    let (began, mut written) = (Instant::now(), 0);
    for group in 1..=reached.commits {
        let upto = reached.events * group / reached.commits;
        file.write_all(&frame.repeat(upto - written))?;
        file.sync_data()?;
        written = upto;
    }
    let took = began.elapsed();
    std::fs::remove_file(path)?;
    Ok(written as f64 / took.as_secs_f64())
}
