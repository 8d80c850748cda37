//! Runs the commands of a service manager.

use std::{io, process::Stdio, time::Duration};

use sse_bus::{Client, Endpoint};

use super::{
    manager::Manager,
    plan::{CommandLine, File},
};
use crate::{
    exit::{Exit, Failure},
    output::Output,
};

/// How long to wait for a running daemon.
const PATIENCE: Duration = Duration::from_secs(2);

/// Fails if a daemon outside the service uses the sockets that the manager would listen on.
pub(super) async fn check_no_other_daemon(manager: &dyn Manager, endpoint: &Endpoint) -> Result<(), Failure> {
    let Some(is_holding) = manager.is_holding() else { return Ok(()) };
    if succeeds(&is_holding) {
        return Ok(());
    }
    let status = async { Client::connect(endpoint).await.ok()?.status().await.ok() };
    match tokio::time::timeout(PATIENCE, status).await {
        Ok(Some(status)) => Err(Failure::new(
            Exit::Failed,
            format!("a daemon that is not the service is already running (process {}); stop it first", status.pid),
        )),
        _ => Ok(()),
    }
}

/// Runs a command without output, and returns true if it succeeds.
pub(super) fn succeeds(command: &CommandLine) -> bool {
    let mut process = command.command();
    process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    process.status().is_ok_and(|status| status.success())
}

/// Runs a command with its output on stderr.
pub(super) fn perform(command: &CommandLine) -> Result<(), Failure> {
    match command.command().stdin(Stdio::null()).stdout(io::stderr()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(Exit::Failed, format!("`{command}` failed: {status}"))),
        Err(e) => Err(cannot_run(command, &e)),
    }
}

fn cannot_run(command: &CommandLine, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot run `{command}`: {error}; is this service manager installed?"))
}

/// Shows the status from the manager, and translates its exit code.
pub(super) fn show_status(command: &CommandLine) -> Result<(), Failure> {
    match command.command().stdin(Stdio::null()).status() {
        Ok(status) => match status.code() {
            Some(0) => Ok(()),
            Some(3) => Err(Failure::new(Exit::NoDaemon, "the service does not run; see `sse-busctl service start`")),
            _ => Err(Failure::new(
                Exit::NoDaemon,
                "the service is not installed, or its manager cannot be reached; see `sse-busctl service install`",
            )),
        },
        Err(e) => Err(cannot_run(command, &e)),
    }
}

/// Replaces this process with a command.
pub(super) fn replace_process(command: &CommandLine) -> Result<(), Failure> {
    #[cfg(unix)]
    return Err(cannot_run(command, &std::os::unix::process::CommandExt::exec(&mut command.command())));
    #[cfg(windows)]
    match command.command().status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Failure::silent(Exit::Failed)),
        Err(e) => Err(cannot_run(command, &e)),
    }
}

/// Prints the files that would be written and the commands that would be run.
pub(super) fn print(output: &Output, files: &[File], commands: &[CommandLine]) -> Result<(), Failure> {
    let files = files.iter().map(|file| format!("# {}\n{}", file.path.display(), file.text));
    let commands = commands.iter().map(|command| format!("$ {command}")).collect::<Vec<_>>().join("\n");
    let parts: Vec<_> = files.chain([commands]).collect();
    let text = parts.join("\n");
    output.line(&text, &text)?;
    Ok(())
}
