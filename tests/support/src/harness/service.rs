//! A server of others as a child process: started, killed, stopped, suspended and started again with the same command.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::process;

/// The time that a server has to start or to stop, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server. Killed when dropped.
pub struct Service {
    program: String,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Service {
    /// A server that has not been started. Its output is appended to a file.
    pub fn new(program: &str, arguments: Vec<String>, log: PathBuf) -> Service {
        Service { program: program.to_owned(), arguments, log, child: None }
    }

    /// Starts it, and waits until `ready` returns a value.
    pub fn start<T>(&mut self, ready: impl FnMut() -> Option<T>) -> T {
        self.spawn();
        self.wait_until(ready)
    }

    /// Starts it without waiting.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "{} is running", self.program);
        let log = fs::File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
    }

    /// Waits until `ready` returns a value. Panics if the server ends before.
    pub fn wait_until<T>(&mut self, mut ready: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = ready() {
                return value;
            }
            let child = self.child.as_mut().expect("it is running");
            if let Some(status) = child.try_wait().unwrap() {
                panic!("{} has ended: {status}\n{}", self.program, self.log());
            }
            assert!(Instant::now() < deadline, "{} is not ready after {PATIENCE:?}\n{}", self.program, self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it is running").id()
    }

    /// Ends it with SIGKILL, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends it with SIGTERM, and waits for its end.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        process::signal(child.id(), Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{} does not stop\n{}", self.program, self.log());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Suspends it, as if its machine did not respond.
    pub fn suspend(&self) {
        process::signal(self.pid(), Signal::STOP);
    }

    pub fn resume(&self) {
        process::signal(self.pid(), Signal::CONT);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let start = log.char_indices().rev().nth(6_000).map_or(0, |(index, _)| index);
            eprintln!("\n{} {}\nlog:\n{}", self.program, self.arguments.join(" "), &log[start..]);
        }
    }
}
