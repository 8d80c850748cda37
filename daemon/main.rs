//! `sse-busd`: the daemon around the bus.
//!
//! ```text
//! local socket ──▶ ipc ──┐                      ┌──▶ fanout ──▶ browsers, curl
//!                        ├──▶ SharedBus ────────┤
//! loopback TCP ──▶ http ─┘    (one mutex)       └──▶ ipc ─────▶ scripts
//! ```
//!
//! - `cli` and `config` are what the daemon is told, `signals` and `service` what it is told later, and what it tells its manager.
//! - `server` binds, accepts and drains; `descriptors` shares out places for connections, `access` says who may.
//! - `ipc` and `http` are the two ways in, `connection` bounds what a peer may make them wait for, `tls` wraps the port.
//! - `shared` is the bus as tasks share it, `fanout` writes the streams of plain HTTP/1.1, `store` keeps history on disk.

mod access;
mod cli;
mod config;
mod connection;
mod descriptors;
mod fanout;
mod holder;
mod http;
mod ipc;
#[cfg(target_os = "macos")]
mod launchd;
mod metrics;
mod server;
mod service;
mod shared;
mod signals;
mod store;
mod tls;

use std::{
    io::{self, ErrorKind, IsTerminal as _, Write as _},
    process::ExitCode,
};

use tracing::warn;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

use crate::{cli::LogFormat, config::Config, service::Sockets, signals::LogFilter};

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
    let filter = match LogFilter::parse(&config.log) {
        Ok(filter) => filter,
        Err(error) => return fail(2, &error),
    };
    if config.check {
        for warning in &config.warnings {
            eprintln!("sse-busd: {warning}");
        }
        // Then, for people and for `sse-busctl service`, what it comes to.
        let sound = format!(
            "the configuration is sound\nlisten     {}\nsocket     {}\nstate_dir  {}\n",
            config.listen,
            config.endpoint,
            config.state_dir.display()
        );
        return match print(&sound) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &error),
        };
    }
    let log = log(config.log_format, filter);
    for warning in &config.warnings {
        warn!("{warning}");
    }
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
    match runtime.block_on(server::run(config, sockets, log)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

/// Begins to log, to stderr.
fn log(format: LogFormat, filter: Targets) -> LogFilter {
    let (filter, handle) = reload::Layer::new(filter);
    let logs = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(io::stderr);
    match format {
        LogFormat::Text => {
            let colours =
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            logs.with(lines.with_ansi(colours)).init();
        }
        LogFormat::Json => logs.with(lines.json().flatten_event(true)).init(),
    }
    // It fails only where nothing is logged any more.
    LogFilter::new(move |filter| drop(handle.reload(filter)))
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
