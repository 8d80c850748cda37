//! Runs other programs and returns their output.

use std::{process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

/// How long to wait for the daemon or a program.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The output of a program that has exited.
pub(super) struct Output {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only systemd is asked"))]
    pub(super) has_succeeded: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs a program. Returns `None` if it does not exist or does not exit within [`PATIENCE`].
pub(super) async fn output_of(program: &mut Command) -> Option<Output> {
    let output = program.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(PATIENCE, output).await.ok()?.ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    Some(Output { has_succeeded: output.status.success(), stdout, stderr })
}
