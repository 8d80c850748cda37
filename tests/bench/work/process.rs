//! Servers of others, as child processes on private addresses. Killed when dropped.

use std::{
    io::ErrorKind,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::Result;

pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Starts a server and waits until `connect` succeeds. Returns None if there is no such program here.
    pub(crate) fn start<T>(command: &mut Command, connect: impl Fn() -> Result<T>) -> Result<Option<Process>> {
        let child = match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            child => child?,
        };
        let mut process = Process(child);
        let until = Instant::now() + Duration::from_secs(30);
        while let Err(error) = connect() {
            if let Some(status) = process.0.try_wait()? {
                return Err(format!("{command:?} has ended: {status}").into());
            }
            if Instant::now() > until {
                return Err(format!("{command:?} does not start: {error}").into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Some(process))
    }
}
