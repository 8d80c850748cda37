//! Shell commands: `--exec` of `publish` and of `subscribe`.

use std::process::Stdio;

use sse_bus::protocol::EventMessage;
use tokio::{io::AsyncWriteExt, process::Command};

/// Bytes of data that a child also gets in `SSE_BUS_DATA`. Linux takes no variable beyond 128 KiB.
const DATA_VARIABLE_MAX: usize = 100 << 10;

/// A command for the shell.
#[cfg(unix)]
pub(crate) fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command);
    shell
}

/// A command for the shell.
#[cfg(windows)]
pub(crate) fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    // Quoting is the shell's business, not that of the usual argument rules.
    shell.raw_arg("/C").raw_arg(command);
    shell
}

/// Runs a command for an event and waits for its end. What it writes goes where this program's output goes.
///
/// # Errors
///
/// Says what went wrong, to go behind the command's name.
pub(crate) async fn on_event(command: &str, event: &EventMessage) -> Result<(), String> {
    let mut shell = shell(command);
    shell
        .env("SSE_BUS_TOPIC", &event.topic)
        .env("SSE_BUS_ID", event.id.map_or_else(String::new, |id| id.to_string()))
        .env("SSE_BUS_TYPE", event.kind.as_deref().unwrap_or_default())
        .env("SSE_BUS_TIME", event.time.to_string())
        .stdin(Stdio::piped());
    if event.data.len() <= DATA_VARIABLE_MAX {
        shell.env("SSE_BUS_DATA", &event.data);
    } else {
        shell.env_remove("SSE_BUS_DATA");
    }
    let mut child = shell.spawn().map_err(|e| format!("cannot be started: {e}"))?;
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A command need not read its stdin.
            let _ = stdin.write_all(event.data.as_bytes()).await;
        }
    };
    // At the same time: a command may end, or leave a background child with the pipe, without reading.
    tokio::pin!(write);
    let status = tokio::select! {
        biased;
        () = &mut write => child.wait().await,
        status = child.wait() => status,
    };
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("failed ({status})")),
        Err(e) => Err(format!("cannot be waited for: {e}")),
    }
}
