//! Shell commands, for `--exec` of `publish`, `subscribe`, `reply` and `work`.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use sse_bus::{limits::FRAME_MAX, protocol::EventMessage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::process_group::ProcessGroup;

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
    #[error("did not end in the time of the request")]
    TimedOut,
    #[error("failed ({0})")]
    Failed(ExitStatus),
}

/// Returns a command that runs in a shell.
#[cfg(unix)]
pub(crate) fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command);
    shell
}

/// Returns a command that runs in a shell.
#[cfg(windows)]
pub(crate) fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    // cmd has quoting rules of its own, so the command is passed unchanged.
    shell.raw_arg("/C").raw_arg(command);
    shell
}

/// Runs a command for an event and waits until it exits. The command shares stdout and stderr with this program.
pub(crate) async fn on_event(command: &str, event: &EventMessage) -> Result<(), CommandError> {
    let mut child = with_event(command, event).spawn().map_err(CommandError::Start)?;
    let write = feed(child.stdin.take(), event.data.as_bytes());
    // Concurrently, because a command may exit without reading, or leave the pipe open in a background process.
    tokio::pin!(write);
    let status = tokio::select! {
        biased;
        () = &mut write => child.wait().await,
        status = child.wait() => status,
    };
    check(status)
}

/// Runs a command for a request, at most for `time`, and returns its stdout. At the end of the time, it is killed with the
/// processes of its group.
pub(crate) async fn reply_to(command: &str, event: &EventMessage, time: Duration) -> Result<Vec<u8>, CommandError> {
    let mut shell = with_event(command, event);
    let mut group = ProcessGroup::start(shell.stdout(Stdio::piped())).map_err(CommandError::Start)?;
    let write = feed(group.child().stdin.take(), event.data.as_bytes());
    let stdout = group.child().stdout.take();
    let run = async {
        let ((), output) = tokio::join!(write, read(stdout));
        let output = output?;
        check(group.wait().await)?;
        Ok(output)
    };
    timeout(time, run).await.unwrap_or(Err(CommandError::TimedOut))
}

/// Returns a command for an event, which is in its environment. Its stdin is a pipe.
pub(crate) fn with_event(command: &str, event: &EventMessage) -> Command {
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
    shell
}

/// Writes to the stdin of a command.
pub(crate) async fn feed(stdin: Option<ChildStdin>, data: &[u8]) {
    if let Some(mut stdin) = stdin {
        // A command need not read its stdin.
        let _ = stdin.write_all(data).await;
    }
}

/// Reads the stdout of a command.
async fn read(stdout: Option<ChildStdout>) -> Result<Vec<u8>, CommandError> {
    let mut output = Vec::new();
    if let Some(stdout) = stdout {
        let limit = FRAME_MAX as u64 + 1;
        stdout.take(limit).read_to_end(&mut output).await.map_err(CommandError::Read)?;
        if output.len() as u64 == limit {
            return Err(CommandError::TooMuchOutput);
        }
    }
    Ok(output)
}

/// Runs a command and returns its stdout.
pub(crate) async fn output_of(command: &str) -> Result<Vec<u8>, CommandError> {
    let mut child = shell(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(CommandError::Start)?;
    let output = read(child.stdout.take()).await?;
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
