//! `sse-busctl publish --every`: the same data, or a command's output, again and again.

use std::{process::Stdio, time::Duration};

use sse_bus::{
    Client,
    limits::FRAME_MAX,
    protocol::{Payload, Publish},
};
use tokio::{
    io::AsyncReadExt,
    time::{MissedTickBehavior, interval},
};

use crate::{
    exec::shell,
    exit::{Exit, Failure},
    output::{Output, count},
    publish,
};

/// What to do again and again.
pub(crate) struct Repeat {
    pub(crate) interval: Duration,
    pub(crate) count: Option<u64>,
    pub(crate) exec: Option<String>,
}

impl Repeat {
    pub(crate) async fn run(self, client: &mut Client, output: &Output, mut event: Publish) -> Result<(), Failure> {
        let mut ticks = interval(self.interval);
        // After a command that took longer, or a suspended machine, no burst to make up for it.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut failed, mut worst) = (0, Exit::Failed);
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            left -= 1;
            ticks.tick().await;
            if let Some(command) = &self.exec {
                match output_of(command).await {
                    Ok(data) => event.data = Payload(data),
                    Err(why) => {
                        failed += 1;
                        eprintln!("sse-busctl: `{command}` {why}; nothing was published this time");
                        continue;
                    }
                }
            }
            match publish::one(client, output, &event).await {
                Ok(()) => {}
                // The client may come yet.
                Err(failure) if failure.exit == Exit::Nobody => {
                    failed += 1;
                    worst = Exit::Nobody;
                    eprintln!("sse-busctl: {}", failure.message.unwrap_or_default());
                }
                Err(failure) => return Err(failure),
            }
        }
        match failed {
            0 => Ok(()),
            _ => Err(Failure::new(worst, format!("{} not published", count(failed, "event")))),
        }
    }
}

/// The output of a command, without one line break at its end.
async fn output_of(command: &str) -> Result<Vec<u8>, String> {
    let mut child = shell(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("cannot be started: {e}"))?;
    let mut data = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let limit = FRAME_MAX as u64 + 1;
        stdout.take(limit).read_to_end(&mut data).await.map_err(|e| format!("cannot be read: {e}"))?;
        if data.len() as u64 == limit {
            return Err(format!("wrote more than {FRAME_MAX} bytes"));
        }
    }
    let status = child.wait().await.map_err(|e| format!("cannot be waited for: {e}"))?;
    if !status.success() {
        return Err(format!("failed ({status})"));
    }
    publish::strip_line_break(&mut data);
    Ok(data)
}
