//! A command that processes one event, or several as a batch, and its outcome.

use std::{
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use sse_bus::{
    limits::REASON_MAX,
    protocol::{EventMessage, json},
    time::format_duration,
};
use tokio::{
    process::Command,
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    forward::{Forward, To},
    screen::Screen,
};
use crate::{
    exec::{CommandError, feed, shell, with_event},
    process_group::ProcessGroup,
};

/// The exit code of a command that rejects its event: `EX_DATAERR` of `sysexits.h`.
const REJECTED: i32 = 65;
/// How long to wait for the end of the output of a command that has exited. A process in its background may have it.
const OUTPUT_PATIENCE: Duration = Duration::from_millis(100);

/// What all commands of a worker share.
pub(super) struct Setup {
    pub(super) command: String,
    pub(super) consumer: String,
    /// The commands receive JSON lines, and no event in their environment.
    pub(super) is_batch: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) screen: Arc<Screen>,
}

/// The outcome of a command for its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// The attempt has failed, for this reason.
    Failed(String),
    /// The events cannot be processed, for this reason.
    Rejected(String),
    /// The worker has ended the command.
    Ended,
}

impl Setup {
    /// Runs the command for events until it exits. It is ended when `end` becomes true, and killed when this is dropped.
    pub(super) async fn run(self: Arc<Setup>, events: Vec<EventMessage>, mut end: watch::Receiver<bool>) -> Outcome {
        let (mut command, input) = self.prepare(&events);
        drop(events);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        if self.screen.shares_stdout() {
            command.stdout(Stdio::piped());
        }
        let mut group = match ProcessGroup::start(&mut command) {
            Ok(group) => group,
            Err(error) => return Outcome::Failed(CommandError::Start(error).to_string()),
        };
        let child = group.child();
        let write = feed(child.stdin.take(), &input);
        let mut stdout = Forward::new(child.stdout.take(), &self.screen, To::Stdout);
        let mut stderr = Forward::new(child.stderr.take(), &self.screen, To::Stderr);
        let outcome = {
            // Concurrently, because a command may exit without reading, or leave the pipes open in a background process.
            let transfer = async { tokio::join!(write, stdout.run(), stderr.run()) };
            tokio::pin!(transfer);
            let mut is_transferring = true;
            let out_of_time = async {
                match self.timeout {
                    Some(timeout) => sleep(timeout).await,
                    None => std::future::pending().await,
                }
            };
            let ended = async { drop(end.wait_for(|end| *end).await) };
            tokio::pin!(out_of_time, ended);
            loop {
                tokio::select! {
                    biased;
                    _ = &mut transfer, if is_transferring => is_transferring = false,
                    status = group.wait() => {
                        if is_transferring {
                            let _ = timeout(OUTPUT_PATIENCE, &mut transfer).await;
                        }
                        break Ok(status);
                    }
                    () = &mut out_of_time => break Err(self.timed_out()),
                    () = &mut ended => break Err(Outcome::Ended),
                }
            }
        };
        let outcome = match outcome {
            Ok(Ok(status)) => of_status(status, &stderr.last_line()),
            Ok(Err(error)) => Outcome::Failed(CommandError::Wait(error).to_string()),
            Err(outcome) => {
                let output = async { tokio::join!(stdout.run(), stderr.run()) };
                tokio::pin!(output);
                let ending = group.end();
                tokio::pin!(ending);
                tokio::select! {
                    () = &mut ending => {}
                    _ = &mut output => ending.await,
                }
                outcome
            }
        };
        stdout.detach();
        stderr.detach();
        outcome
    }

    fn timed_out(&self) -> Outcome {
        let time = format_duration(self.timeout.unwrap_or_default());
        Outcome::Failed(format!("ran longer than {time} and was ended"))
    }

    /// Returns the command and its input.
    fn prepare(&self, events: &[EventMessage]) -> (Command, Vec<u8>) {
        let (mut command, input) = match events {
            [event] if !self.is_batch => {
                let mut command = with_event(&self.command, event);
                let attempt = event.delivery.as_ref().map_or(1, |delivery| delivery.attempt);
                command.env("SSE_BUS_ATTEMPT", attempt.to_string());
                (command, event.data.clone().into_bytes())
            }
            events => {
                let mut input = Vec::new();
                for event in events {
                    json::encode(event, &mut input);
                }
                (shell(&self.command), input)
            }
        };
        command.env("SSE_BUS_CONSUMER", &self.consumer);
        (command, input)
    }
}

/// Returns the outcome of a command that has exited.
fn of_status(status: ExitStatus, last_line: &str) -> Outcome {
    match status.code() {
        Some(0) => Outcome::Done,
        Some(REJECTED) if last_line.is_empty() => Outcome::Rejected(status.to_string()),
        Some(REJECTED) => {
            let end = last_line.floor_char_boundary(REASON_MAX);
            Outcome::Rejected(last_line[..end].to_owned())
        }
        _ => Outcome::Failed(CommandError::Failed(status).to_string()),
    }
}
