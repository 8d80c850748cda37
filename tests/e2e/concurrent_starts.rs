//! Daemons that start, stop and are killed concurrently on one socket: exactly one serves, the others name it and exit,
//! and a stale socket or lock does not block the next start.

use std::{
    os::unix::net::UnixStream,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::harness::{Daemon, Lines, Process, Run, Sandbox, until};

/// Rounds of concurrent starts; the variable sets more.
const ROUNDS: (&str, u32) = ("SSE_BUS_TEST_STARTS", 100);

fn busd(sandbox: &Sandbox) -> Process {
    let mut busd = sandbox.busd();
    busd.args(["--no-config", "--listen", "127.0.0.1:0", "--socket"]).arg(sandbox.socket());
    Process::start(busd)
}

/// Starts daemons at the same instant.
fn together(sandbox: &Sandbox, daemons: usize) -> Vec<Process> {
    let gate = Barrier::new(daemons);
    let start = || {
        gate.wait();
        busd(sandbox)
    };
    thread::scope(|scope| {
        let starting: Vec<_> = (0..daemons).map(|_| scope.spawn(start)).collect();
        starting.into_iter().map(|daemon| daemon.join().unwrap()).collect()
    })
}

/// The pid of the daemon that serves the socket, once one does.
fn server(sandbox: &Sandbox) -> u32 {
    let status = until("a daemon serves", || {
        let mut lines = Lines::new(UnixStream::connect(sandbox.socket()).ok()?);
        lines.send(r#"{"status":{}}"#);
        lines.next()
    });
    u32::try_from(status["status"]["pid"].as_u64().unwrap()).unwrap()
}

/// Leaves a socket file as a killed daemon does. The socket never listens: a child process of another test that has
/// inherited it would keep listening until its exec.
fn leave_stale(sandbox: &Sandbox) {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(sandbox.socket()).unwrap()).unwrap();
}

/// Starts daemons together and checks that one serves until it is stopped, and that the others name it.
fn one_of(sandbox: &Sandbox, daemons: usize) {
    let started = together(sandbox, daemons);
    let pid = server(sandbox);
    let (serving, others): (Vec<_>, Vec<_>) = started.into_iter().partition(|daemon| daemon.pid() == pid);
    let [serving] = <[_; 1]>::try_from(serving).unwrap_or_else(|_| panic!("another process serves: {pid}"));
    for other in others {
        let run = other.finish().ends_with(1).says(&format!("already running: PID {pid}, "));
        assert_eq!(run.stderr.lines().count(), 1, "{run}");
    }
    assert_eq!(server(sandbox), pid, "another daemon replaced it");
    serving.signal(Signal::TERM);
    serving.finish().ok();
    assert!(!sandbox.socket().exists(), "the socket was not removed");
}

#[test]
fn one_of_several_daemons_started_together_serves_and_the_others_name_it() {
    let rounds = std::env::var(ROUNDS.0).map_or(ROUNDS.1, |rounds| rounds.parse().unwrap());
    let began = Instant::now();
    let sandbox = Sandbox::new();
    for round in 0..rounds {
        if round % 2 == 1 {
            leave_stale(&sandbox);
        }
        one_of(&sandbox, if round % 20 == 19 { 8 } else { 2 });
    }
    println!("{rounds} starts together, half of them with a stale socket, in {:?}", began.elapsed());
}

#[test]
fn a_daemon_started_while_another_stops_takes_over_or_names_it() {
    let sandbox = Sandbox::new();
    let mut serving = busd(&sandbox);
    let mut taken = 0;
    for round in 0..40 {
        assert_eq!(server(&sandbox), serving.pid());
        // At a different moment of the other's start each time.
        let next = if round % 2 == 0 {
            serving.signal(Signal::TERM);
            busd(&sandbox)
        } else {
            let next = busd(&sandbox);
            thread::sleep(Duration::from_micros(300 * round));
            serving.signal(Signal::TERM);
            next
        };
        let pid = serving.pid();
        serving.finish().ok();
        serving = match took_over(&sandbox, next) {
            Ok(next) => {
                taken += 1;
                next
            }
            Err(run) => {
                run.ends_with(1).says(&format!("already running: PID {pid}, "));
                assert!(!sandbox.socket().exists(), "the socket was not removed");
                busd(&sandbox)
            }
        };
    }
    assert!(taken >= 15, "only {taken} of 40 took over");
}

/// Waits until a daemon serves or has ended.
fn took_over(sandbox: &Sandbox, daemon: Process) -> Result<Process, Run> {
    let serves = until("it serves or ends", || {
        let serves = UnixStream::connect(sandbox.socket()).is_ok();
        (serves || daemon.stderr.text().contains("already")).then_some(serves)
    });
    if serves { Ok(daemon) } else { Err(daemon.finish()) }
}

#[test]
fn a_daemon_killed_at_any_moment_does_not_block_the_next() {
    let sandbox = Sandbox::new();
    for round in 0..40 {
        let killed = busd(&sandbox);
        if round % 4 == 3 {
            server(&sandbox);
        } else {
            // At a different moment of its start each time.
            thread::sleep(Duration::from_micros(500 * round));
        }
        killed.signal(Signal::KILL);
        assert_eq!(killed.finish().code, None);
    }
    let mut daemon = Daemon::start_at(sandbox, &["--no-config"]);
    daemon.ctl(&["publish", "t", "x"]).ok();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    assert!(!daemon.sandbox.socket().exists());
}
