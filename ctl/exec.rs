//! Shell commands, for `--exec` of `publish` and `subscribe`.

use std::{
    io,
    process::{ExitStatus, Stdio},
};

use sse_bus::{limits::FRAME_MAX, protocol::EventMessage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

/// Maximum bytes of data that a child also gets in `SSE_BUS_DATA`. Linux refuses variables above 128 KiB.
const DATA_VARIABLE_MAX: usize = 100 << 10;

/// Why a command failed. The message follows the command's name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("cannot be started: {0}")]
    Start(io::Error),
    #[error("has output that cannot be read: {0}")]
    Read(io::Error),
    #[error("wrote more than {FRAME_MAX} bytes")]
    TooMuchOutput,
    #[error("cannot be waited for: {0}")]
    Wait(io::Error),
    #[error("failed ({0})")]
    Failed(ExitStatus),
}

/// Returns a command that runs in a shell.
#[cfg(unix)]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command);
    shell
}

/// Returns a command that runs in a shell.
#[cfg(windows)]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    // cmd has quoting rules of its own, so the command is passed unchanged.
    shell.raw_arg("/C").raw_arg(command);
    shell
}

/// Runs a command for an event and waits until it exits. The command shares stdout and stderr with this program.
pub(crate) async fn on_event(command: &str, event: &EventMessage) -> Result<(), CommandError> {
    let mut shell = shell(command);
    shell
        .env("SSE_BUS_TOPIC", &event.topic)
        .env("SSE_BUS_ID", event.id.map_or_else(String::new, |id| id.to_string()))
        .env("SSE_BUS_TYPE", event.event_type.as_deref().unwrap_or_default())
        .env("SSE_BUS_TIME", event.time.to_string())
        .stdin(Stdio::piped());
    if event.data.len() <= DATA_VARIABLE_MAX {
        shell.env("SSE_BUS_DATA", &event.data);
    } else {
        shell.env_remove("SSE_BUS_DATA");
    }
    let mut child = shell.spawn().map_err(CommandError::Start)?;
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A command need not read its stdin.
            let _ = stdin.write_all(event.data.as_bytes()).await;
        }
    };
    // Concurrently, because a command may exit without reading, or leave the pipe open in a background process.
    tokio::pin!(write);
    let status = tokio::select! {
        biased;
        () = &mut write => child.wait().await,
        status = child.wait() => status,
    };
    check(status)
}

/// Runs a command and returns its stdout.
pub(crate) async fn output_of(command: &str) -> Result<Vec<u8>, CommandError> {
    let mut child = shell(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(CommandError::Start)?;
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let limit = FRAME_MAX as u64 + 1;
        stdout.take(limit).read_to_end(&mut output).await.map_err(CommandError::Read)?;
        if output.len() as u64 == limit {
            return Err(CommandError::TooMuchOutput);
        }
    }
    check(child.wait().await)?;
    Ok(output)
}

fn check(status: io::Result<ExitStatus>) -> Result<(), CommandError> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(CommandError::Failed(status)),
        Err(e) => Err(CommandError::Wait(e)),
    }
}
