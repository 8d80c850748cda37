//! Shell commands, for `--exec` of `publish`, `subscribe` and `reply`.

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
    let mut child = with_event(command, event).spawn().map_err(CommandError::Start)?;
    let write = feed(child.stdin.take(), &event.data);
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
    shell.stdout(Stdio::piped()).kill_on_drop(true);
    #[cfg(unix)]
    shell.process_group(0);
    let mut child = shell.spawn().map_err(CommandError::Start)?;
    let group = child.id();
    let write = feed(child.stdin.take(), &event.data);
    let stdout = child.stdout.take();
    let run = async {
        let ((), output) = tokio::join!(write, read(stdout));
        let output = output?;
        check(child.wait().await)?;
        Ok(output)
    };
    timeout(time, run).await.unwrap_or_else(|_| {
        end_group(group);
        Err(CommandError::TimedOut)
    })
}

#[cfg(unix)]
fn end_group(group: Option<u32>) {
    let group = group.and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(group) = group {
        // It may have ended in the meantime.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// The child itself is killed when it is dropped.
#[cfg(windows)]
fn end_group(_: Option<u32>) {}

/// Returns a command for an event, which is in its environment. Its stdin is a pipe.
fn with_event(command: &str, event: &EventMessage) -> Command {
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

/// Writes the data of an event to the stdin of a command.
async fn feed(stdin: Option<ChildStdin>, data: &str) {
    if let Some(mut stdin) = stdin {
        // A command need not read its stdin.
        let _ = stdin.write_all(data.as_bytes()).await;
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
