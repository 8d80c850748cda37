//! `sse-busd`: the daemon around the bus.
//!
//! ```text
//! local socket ──▶ ipc ──┐                      ┌──▶ fanout ──▶ browsers, curl
//!                        ├──▶ SharedBus ────────┤
//! loopback TCP ──▶ http ─┘    (one mutex)       └──▶ ipc ─────▶ scripts
//! ```
//!
//! - `cli` and `config` are what the daemon is told, `signals` and `service` what it is told later, and what it tells its manager.
//! - `logging` writes the log from a thread of its own, and bounds what peers can make it write.
//! - `server` binds, accepts and drains, `tcp` binds for browsers; `descriptors` shares out places for connections, `access` says who may.
//! - `ipc` and `http` are the two ways in, `connection` bounds what a peer may make them wait for, `unauthenticated` what
//!   strangers may make them hold, `tls` wraps the port.
//! - `shared` is the bus as tasks share it, `fanout` writes the streams of plain HTTP/1.1, `store` keeps history on disk.
//! - `memory` returns freed memory to the system.

mod access;
mod cli;
mod clock;
mod config;
mod connection;
mod descriptors;
mod fanout;
mod http;
mod ipc;
#[cfg(target_os = "macos")]
mod launchd;
mod listen;
mod logging;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod memory;
mod metrics;
mod nearest;
mod server;
mod service;
mod shared;
mod signals;
mod store;
mod tcp;
mod tls;
mod unauthenticated;

use std::{
    io::{self, ErrorKind, Write as _},
    process::ExitCode,
};

use sse_bus::limits::DRAIN;

use crate::{config::Config, listen::Listen, logging::Log, service::Sockets};

fn main() -> ExitCode {
    let sockets = Sockets::take();
    let held = sockets.as_ref().map_err(Clone::clone).and_then(Sockets::held);
    let (sockets, held) = match (sockets, held) {
        (Ok(sockets), Ok(held)) => (sockets, held),
        (Err(error), _) | (_, Err(error)) => return fail(2, &error),
    };
    let config = match Config::read(held) {
        Ok(config) => config,
        Err(error) => {
            for mistake in error.lines() {
                eprintln!("sse-busd: {mistake}");
            }
            return ExitCode::from(2);
        }
    };
    let filter = match Log::parse(&config.log) {
        Ok(filter) => filter,
        Err(error) => return fail(2, &error),
    };
    if config.check {
        for warning in &config.warnings {
            eprintln!("sse-busd: {warning}");
        }
        // Then, for people and for `sse-busctl service`, what it comes to.
        let listen =
            Listen::all(&config.listen).iter().map(ToString::to_string).collect::<Vec<_>>().join("\nlisten     ");
        let sound = format!(
            "the configuration is sound\nlisten     {listen}\nsocket     {}\nstate_dir  {}\n",
            config.endpoint,
            config.state_dir.display()
        );
        return match print(&sound) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &error),
        };
    }
    let descriptors = match descriptors::limit() {
        Ok(limit) => limit,
        Err(error) => return fail(1, &error),
    };
    // Dropped last, after the runtime: nothing is logged any more.
    let (log, _flush) = match Log::start(config.log_format, filter) {
        Ok(started) => started,
        Err(error) => return fail(1, &error),
    };
    Log::warn(&config.warnings);
    // Nothing that the daemon makes is for other users.
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Sockets are looked at after so many turns of tasks, also when thousands of new connections have theirs: who is
    // there already does not wait for them.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().event_interval(16).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("no threads to run on: {error}")),
    };
    let ended = runtime.block_on(server::run(config, sockets, log, descriptors));
    // What still waits for a disk that hangs does not hold up the end.
    runtime.shutdown_timeout(DRAIN);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

/// Prints to stdout, of which nobody may want all: `sse-busd --print-config | head`.
///
/// # Errors
///
/// What was printed is nowhere, as on a full disk.
fn print(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("cannot write the output: {error}")),
        _ => Ok(()),
    }
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("sse-busd: {error}");
    ExitCode::from(code)
}
