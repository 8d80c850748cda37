//! `sse-busctl`: the command line of the bus.
//!
//! Payloads go to stdout, everything else to stderr. On a terminal output is for people, otherwise it is one JSON value
//! per line; `--format` chooses. An error message is one line with the error, its object and what to do about it.

mod bench;
mod check_report;
mod cli;
mod clients;
mod completions;
mod consumer;
mod daemon_program;
mod dead;
mod doctor;
mod exec;
mod exit;
mod format;
mod history;
mod init_page;
mod kick;
mod limit_fix;
mod man;
mod nodes;
mod output;
mod process_group;
mod publish;
mod remote;
mod reply;
mod request;
mod schedule;
mod send;
mod service;
mod signals;
mod status;
mod subscribe;
mod table;
mod times;
mod token;
mod topics;
mod units;
mod url;
mod visible;
mod work;

use std::process::ExitCode;

use sse_bus::{Client, Endpoint, client::Address, endpoint::expand_home};

use cli::{Action, Cli};
use exit::{Exit, Failure};
use output::Output;

fn main() -> ExitCode {
    completions::complete();
    let cli = Cli::read();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("sse-busctl: cannot start: {e}");
            return Exit::Failed.into();
        }
    };
    let outcome = runtime.block_on(run(cli));
    // Do not wait for a thread that is blocked in a read of stdin.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => Exit::Done.into(),
        Err(Failure { exit, message }) => {
            if let Some(message) = message {
                output::report(&message);
            }
            exit.into()
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let given = cli.socket.clone();
    let endpoint = || match &given {
        Some(path) => Ok(Endpoint::at(expand_home(path.clone()))),
        None => Endpoint::find().map_err(|e| Failure::new(Exit::NoDaemon, e.to_string())),
    };
    let address = || match &cli.remote.url {
        Some(url) => remote::daemon(url, &cli.remote).map(Address::from),
        None => endpoint().map(Address::from),
    };
    // For commands that work on the files and processes of this machine.
    let here = || match &cli.remote.url {
        Some(_) => {
            Err(Failure::new(Exit::Usage, "this command works on this machine only; leave out --url (SSE_BUS_URL)"))
        }
        None => endpoint(),
    };
    let connect = async || Ok::<_, Failure>(Client::connect(&address()?).await?);
    let output = Output::new(cli.format, cli.quiet);
    match cli.action {
        Action::Publish(options) => publish::run(&address()?, &output, *options).await,
        Action::Subscribe(options) => subscribe::run(&address()?, &output, options).await,
        Action::Request(options) => request::run(&address()?, &output, options).await,
        Action::Reply(options) => reply::run(&address()?, &output, options).await,
        Action::Send(options) => send::run(&address()?, &output, options).await,
        Action::Schedule(options) => schedule::run(&mut connect().await?, &output, options).await,
        Action::Consumer(options) => consumer::run(&mut connect().await?, &output, options).await,
        Action::Work(options) => work::run(&address()?, &output, options).await,
        Action::Dead(options) => dead::run(&mut connect().await?, &output, options).await,
        Action::Clients => clients::run(&mut connect().await?, &output).await,
        Action::Nodes => nodes::run(&mut connect().await?, &output).await,
        Action::Topics(options) => topics::run(&mut connect().await?, &output, options).await,
        Action::Status(options) => status::run(&mut connect().await?, &output, options).await,
        Action::Kick(options) => kick::run(&mut connect().await?, &output, options).await,
        Action::History(options) => history::run(&address()?, &output, options).await,
        Action::Bench(options) => bench::run(&output, options).await,
        Action::Token(options) => token::run(&here()?, &output, options).await,
        Action::InitPage(options) => init_page::run(&mut connect().await?, &output, &options).await,
        Action::Url(options) => url::run(&mut connect().await?, &output, options).await,
        Action::Service(options) => service::run(&here()?, given.clone(), &output, options).await,
        Action::Doctor(options) => doctor::run(endpoint()?, given.is_some(), &output, options).await,
        Action::Completions(options) => completions::run(&output, &options),
        Action::Man(options) => man::run(&options),
        Action::Socket => socket(Client::connect(&here()?).await?, &output).await,
        Action::Version => version(&output),
    }
}

/// Prints the path of the socket at which the daemon answers.
async fn socket(mut client: Client, output: &Output) -> Result<(), Failure> {
    let socket = client.status().await?.socket;
    // Plain text even without a terminal, for `$(…)`.
    output.line(&socket, &socket)?;
    Ok(())
}

/// Prints the version of this program.
fn version(output: &Output) -> Result<(), Failure> {
    let version = env!("SSE_BUS_VERSION");
    output.line(&format!("sse-busctl {version}"), &serde_json::json!({ "version": version }))?;
    Ok(())
}
