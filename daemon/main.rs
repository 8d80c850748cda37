//! `sse-busd`: the daemon around the bus.
//!
//! ```text
//! local socket ──▶ ipc ──┐                 ┌──▶ fanout ──▶ browsers, curl
//!                        ├──▶ api ──▶ bus ─┤
//! TCP ───────────▶ http ─┘                 └──▶ ipc ─────▶ scripts
//! ```
//!
//! Each line depends on those above it alone; `tests/circles` checks that.
//!
//! - `origin`, `tls`: the types of values in the configuration. `clock`: the time. `logging` writes the log from its
//!   own thread, and bounds how much peers can cause.
//! - `config` reads flags, environment and file.
//! - `memory` returns freed memory to the system; `unauthenticated` bounds the memory of peers without a token; `hold_clock`
//!   measures how long the lock of the bus is held.
//! - `connection`, `connection_limits`, `net`: byte streams with deadlines, file descriptors, TCP sockets. `shared_bus`: the bus
//!   behind one mutex.
//! - `access` authenticates callers and decides what each may do; `log` assigns sequence numbers, and keeps history on disk.
//! - `nats` is the connection to the servers of a shared log; `join` opens that log and meets the other nodes.
//! - `pending_request` waits for the replies of responders; `cluster` talks to the other nodes of a shared bus.
//! - `client_guard` is a connected client, `metrics` what Prometheus reads.
//! - `context` is what all tasks share.
//! - `api` applies requests, in one way for all transports.
//! - `fanout` writes the streams of plain HTTP/1.1.
//! - `http` and then `ipc` are the two transports; the local socket speaks HTTP, too. `web/` has the files that they serve.
//! - `service_manager` and `signals` talk to the system.
//! - `server` starts, accepts and drains.

mod access;
mod api;
mod client_guard;
mod clock;
mod cluster;
mod config;
mod connection;
mod connection_limits;
mod consumer_metrics;
mod context;
mod fanout;
mod hold_clock;
mod http;
mod ipc;
#[cfg(feature = "nats")]
mod join;
#[cfg(target_os = "macos")]
mod launchd;
mod log;
mod logging;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod memory;
mod metrics;
#[cfg(feature = "nats")]
mod nats;
mod nearest;
mod net;
mod origin;
mod pending_request;
#[cfg(feature = "nats")]
mod queue;
mod server;
mod service_manager;
mod shared_bus;
mod signals;
mod tls;
mod unauthenticated;

use std::{
    error::Error,
    io::{self, ErrorKind, Write as _},
    process::ExitCode,
};

use sse_bus::{flags::Check, limits::DRAIN};

use crate::{
    config::{Config, Given, InheritedSockets, Mode, report},
    logging::Log,
    service_manager::Sockets,
};

fn main() -> ExitCode {
    let given = Given::parse().unwrap_or_else(|error| error.exit());
    let sockets = Sockets::take().and_then(|sockets| Ok((sockets.addresses()?, sockets)));
    let (inherited, sockets) = match sockets {
        Ok(sockets) => sockets,
        Err(error) => return fail(2, &error),
    };
    match given.mode() {
        Mode::Check(check) => self::check(&given, inherited, check),
        Mode::PrintConfig => exit_code(print(config::DEFAULT)),
        Mode::Run => run(&given, inherited, sockets),
    }
}

/// Reports whether the configuration is valid.
fn check(given: &Given, inherited: InheritedSockets, check: Check) -> ExitCode {
    let result = Config::read(given, inherited).map(|config| config.report());
    let output = report::format(&result, check);
    eprint!("{}", output.stderr);
    match print(&output.stdout) {
        Ok(()) if result.is_err() => ExitCode::from(2),
        printed => exit_code(printed),
    }
}

/// Runs the daemon until it is stopped.
fn run(given: &Given, inherited: InheritedSockets, sockets: Sockets) -> ExitCode {
    let config = match Config::read(given, inherited) {
        Ok(config) => config,
        Err(error) => {
            eprint!("{}", report::prefixed(error.lines()));
            return ExitCode::from(2);
        }
    };
    let descriptors = match connection_limits::raise() {
        Ok(limit) => limit,
        Err(error) => return fail(1, &error),
    };
    // Dropped last, after the runtime, when nothing is logged any more.
    let (log, _flush) = match Log::start(config.log_format, config.log.clone()) {
        Ok(started) => started,
        Err(error) => return fail(1, &error),
    };
    Log::warn(&config.warnings);
    // Files that the daemon creates are not for other users.
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // A thread polls the sockets after every 16 turns of tasks, so that established connections do not wait while thousands
    // of new ones have their first turn.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().event_interval(16).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start threads: {error}")),
    };
    let ended = runtime.block_on(server::run(config, sockets, log, descriptors));
    // A thread that waits for a hanging disk does not delay the exit.
    runtime.shutdown_timeout(DRAIN);
    exit_code(ended)
}

/// The output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the output: {0}")]
struct OutputError(io::Error);

/// Prints to stdout. A reader that has closed it, as in `sse-busd --print-config | head`, is not an error.
fn print(text: &str) -> Result<(), OutputError> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(OutputError(error)),
        _ => Ok(()),
    }
}

fn exit_code<E: Error>(result: Result<(), E>) -> ExitCode {
    result.map_or_else(|error| fail(1, &error), |()| ExitCode::SUCCESS)
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("sse-busd: {error}");
    ExitCode::from(code)
}
