//! `sse-busctl work --exec` beside `xargs -P`: processes a second that do nothing.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sse_bus_support::measured::{Daemon, On};

use crate::{Result, line, median};

const JOBS: usize = 1_000;
const ROUNDS: usize = 5;

pub(crate) fn run() -> Result<()> {
    let daemon = Daemon::start(On::All, &["--history", "memory"])?;
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        others.push(xargs()?);
        ours.push(work(&daemon)?);
    }
    let (ours, others) = (median(ours), median(others));
    line("xargs -P2 -n1 true", &format!("{others:.0} processes/s"), "", "–");
    line(
        "sse-busctl work --exec true -j2",
        &format!("{ours:.0} processes/s"),
        &format!("{:.2}", ours / others),
        "at least 0.8",
    );
    Ok(())
}

fn xargs() -> Result<f64> {
    let began = Instant::now();
    let mut xargs = Command::new("xargs").args(["-P2", "-n1", "true"]).stdin(Stdio::piped()).spawn()?;
    xargs.stdin.take().ok_or("no pipe")?.write_all("x\n".repeat(JOBS).as_bytes())?;
    ended(xargs.wait()?, began.elapsed())
}

fn work(daemon: &Daemon) -> Result<f64> {
    let ctl = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sse-busctl"));
        command.arg("--socket").arg(daemon.socket()).args(arguments).stdout(Stdio::null());
        command
    };
    ended(ctl(&["consumer", "create", "spawned", "spawned"]).status()?, Duration::from_secs(1))?;
    let mut publish = ctl(&["publish", "spawned", "--lines"]).stdin(Stdio::piped()).spawn()?;
    publish.stdin.take().ok_or("no pipe")?.write_all("x\n".repeat(JOBS).as_bytes())?;
    ended(publish.wait()?, Duration::from_secs(1))?;
    let began = Instant::now();
    let count = JOBS.to_string();
    let status =
        ctl(&["work", "spawned", "--exec", "true", "-j2", "--count", &count]).stderr(Stdio::null()).status()?;
    let rate = ended(status, began.elapsed())?;
    ended(ctl(&["consumer", "delete", "spawned"]).status()?, Duration::from_secs(1))?;
    Ok(rate)
}

/// Returns the processes a second of a command that has succeeded.
fn ended(status: std::process::ExitStatus, time: Duration) -> Result<f64> {
    if status.success() {
        Ok(JOBS as f64 / time.as_secs_f64())
    } else {
        Err(format!("a command ends with {status}").into())
    }
}
