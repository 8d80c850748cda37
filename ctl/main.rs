//! `sse-busctl`: the bus from a shell.
//!
//! Payloads go to stdout, everything else to stderr. On a terminal output is for people; piped, or with `--json`, it
//! is one JSON value a line. Every failure is one line that says what, to what, and what to do next.

mod bench;
mod cli;
mod clients;
mod completions;
mod doctor;
mod exec;
mod exit;
mod format;
mod history;
mod kick;
#[allow(dead_code, reason = "the daemon reads it from its configuration, too")]
#[path = "../daemon/listen.rs"]
mod listen;
mod man;
mod output;
mod publish;
mod send;
mod service;
mod signals;
mod status;
mod subscribe;
mod token;
mod topics;
mod url;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use sse_bus::{Client, Endpoint};

use cli::{Cli, Do};
use exit::{Exit, Failure};
use output::{Output, visible_lines};

fn main() -> ExitCode {
    completions::answer();
    let cli = Cli::read();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("sse-busctl: cannot start: {e}");
            return Exit::Failed.into();
        }
    };
    let outcome = runtime.block_on(run(cli));
    // A thread that still waits for stdin must not hold the end up.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => Exit::Done.into(),
        Err(Failure { exit, message }) => {
            if let Some(message) = message {
                let message = if io::stderr().is_terminal() { visible_lines(&message) } else { message.into() };
                eprintln!("sse-busctl: {message}");
            }
            exit.into()
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let named = cli.socket.clone();
    let endpoint = match cli.socket {
        Some(path) => Endpoint::at(path),
        None => Endpoint::find().map_err(|e| Failure::new(Exit::NoDaemon, e.to_string()))?,
    };
    let output = Output::new(cli.json);
    match cli.command {
        Do::Publish(options) => publish::run(&endpoint, &output, *options).await,
        Do::Subscribe(options) => subscribe::run(&endpoint, &output, options).await,
        Do::Send(options) => send::run(&endpoint, &output, options).await,
        Do::Clients => clients::run(&mut Client::connect(&endpoint).await?, &output).await,
        Do::Topics => topics::run(&mut Client::connect(&endpoint).await?, &output).await,
        Do::Status(options) => status::run(&mut Client::connect(&endpoint).await?, &output, options).await,
        Do::Kick(options) => kick::run(&mut Client::connect(&endpoint).await?, &output, options).await,
        Do::History(options) => history::run(&endpoint, &output, options).await,
        Do::Bench(options) => bench::run(&endpoint, &output, options).await,
        Do::Token(options) => token::run(&endpoint, &output, options).await,
        Do::Url(options) => url::run(&mut Client::connect(&endpoint).await?, &output, options).await,
        Do::Service(options) => service::run(&endpoint, named, &output, options).await,
        Do::Doctor(options) => doctor::run(endpoint, named.is_some(), &output, options).await,
        Do::Completions(options) => completions::run(&output, &options),
        Do::Man(options) => man::run(&options),
    }
}
