//! A command with the processes that it starts, which end together.
//!
//! On Windows only the command itself is ended.

use std::time::Duration;

use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout_at},
};

/// Time from the request to end until the processes are killed.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process group of a command. Its processes are killed when this is dropped, unless the command has exited.
pub(crate) struct ProcessGroup {
    child: Child,
    /// The leader of the group, until it has exited.
    leader: Option<u32>,
}

impl ProcessGroup {
    /// Starts a command as the leader of a group of its own, which the Ctrl-C of a terminal does not reach.
    pub(crate) fn start(command: &mut Command) -> std::io::Result<ProcessGroup> {
        #[cfg(unix)]
        command.process_group(0);
        let child = command.kill_on_drop(true).spawn()?;
        let leader = child.id();
        Ok(ProcessGroup { child, leader })
    }

    /// Returns the command.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits until the command exits. What it leaves in the background continues. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> std::io::Result<std::process::ExitStatus> {
        let status = self.child.wait().await;
        self.leader = None;
        status
    }

    /// Asks all processes to end, and kills those that have not after [`PATIENCE`].
    pub(crate) async fn end(mut self) {
        /// Time between two looks at processes that the command has left.
        const LOOK: Duration = Duration::from_millis(20);
        let Some(leader) = self.leader else { return };
        let deadline = Instant::now() + PATIENCE;
        if signal(leader, Ask::End) {
            let _ = timeout_at(deadline, self.child.wait()).await;
            while signal(leader, Ask::Nothing) && Instant::now() < deadline {
                sleep(LOOK).await;
            }
        }
        // Dropped, and thereby killed.
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            signal(leader, Ask::Die);
        }
    }
}

/// What a process group is asked for.
#[derive(Clone, Copy)]
enum Ask {
    /// Whether it has processes.
    Nothing,
    End,
    Die,
}

/// Sends a signal to a group. Returns false if it has no processes.
#[cfg(unix)]
fn signal(leader: u32, ask: Ask) -> bool {
    use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
    let Some(group) = Pid::from_raw(leader.cast_signed()) else { return false };
    match ask {
        Ask::Nothing => test_kill_process_group(group),
        Ask::End => kill_process_group(group, Signal::TERM),
        Ask::Die => kill_process_group(group, Signal::KILL),
    }
    .is_ok()
}

/// The child itself is killed when it is dropped.
#[cfg(windows)]
fn signal(_: u32, _: Ask) -> bool {
    false
}
