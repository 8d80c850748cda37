//! A running program whose output is captured.

use std::{
    fmt,
    io::{Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Instant,
};

#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{PATIENCE, until};

/// Runs a shell script, for example to set limits, in the process that then executes the command.
#[cfg(unix)]
pub fn after(script: &str, command: &mut Command) {
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("{script}; exec \"$0\" \"$@\"")]);
    wrap(shell, command);
}

/// Has a program execute the command, which it receives as its last arguments.
#[cfg(unix)]
pub fn wrap(mut program: Command, command: &mut Command) {
    program.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => program.env(name, value),
            None => program.env_remove(name),
        };
    }
    *command = program;
}

/// Starts a program. Wine sometimes cannot start one of many at a time, so that is retried.
pub fn spawn(command: &mut Command) -> Child {
    /// `ERROR_INTERNAL_ERROR` of Windows.
    const INTERNAL_ERROR: i32 = 1359;
    let mut tries = 0;
    loop {
        tries += 1;
        match command.spawn() {
            Ok(child) => return child,
            Err(error) if cfg!(windows) && tries < 5 && error.raw_os_error() == Some(INTERNAL_ERROR) => {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            Err(error) => panic!("{command:?}: {error}"),
        }
    }
}

/// A running program. Killed when dropped.
pub struct Process {
    command: String,
    child: Child,
    stdin: Option<ChildStdin>,
    pub stdout: Captured,
    pub stderr: Captured,
}

impl Process {
    /// Starts a program with a pipe for stdin, capturing stdout and stderr.
    pub fn start(mut command: Command) -> Process {
        command.stdout(Stdio::piped());
        Process::start_with_stdout(command)
    }

    /// Starts a program with the stdout that the command sets.
    pub fn start_with_stdout(mut command: Command) -> Process {
        let shown = format!("{command:?}");
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(&mut command);
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().map_or_else(Captured::nothing, Captured::of);
        let stderr = Captured::of(child.stderr.take().unwrap());
        Process { command: shown, child, stdin, stdout, stderr }
    }

    /// Writes to its stdin. A program that has stopped reading is not an error.
    pub fn feed(&mut self, bytes: &[u8]) {
        let _ = self.stdin.as_mut().expect("stdin is open").write_all(bytes);
    }

    /// Its stdin, to be written by the caller.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("stdin is open")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[cfg(unix)]
    pub fn signal(&self, signal: Signal) {
        self::signal(self.pid(), signal);
    }

    /// The next line of stdout.
    pub fn line(&mut self) -> String {
        self.stdout.line().unwrap_or_else(|| panic!("{} has ended; stderr: {}", self.command, self.stderr.text()))
    }

    /// Closes its stdin and waits for its end.
    pub fn finish(mut self) -> Run {
        self.stdin = None;
        let status = until(&format!("{} ends", self.command), || self.child.try_wait().unwrap());
        Run {
            command: self.command.clone(),
            code: status.code(),
            stdout: self.stdout.to_the_end(),
            stderr: self.stderr.to_the_end(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
            eprintln!("\ncommand: {}\nstdout:\n{stdout:.4000}\nstderr:\n{stderr:.4000}", self.command);
        }
    }
}

/// Sends a signal to a process of this test.
#[cfg(unix)]
pub fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

/// The output of a program so far.
pub struct Captured {
    shared: Arc<(Mutex<Written>, Condvar)>,
    /// The bytes already returned as lines.
    taken: usize,
}

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    over: bool,
}

impl Captured {
    fn of(mut pipe: impl Read + Send + 'static) -> Captured {
        let captured = Captured { shared: Arc::default(), taken: 0 };
        let shared = captured.shared.clone();
        thread::spawn(move || {
            let mut chunk = vec![0; 64 << 10];
            loop {
                let read = pipe.read(&mut chunk).unwrap_or(0);
                let mut written = shared.0.lock().unwrap();
                written.bytes.extend_from_slice(&chunk[..read]);
                written.over = read == 0;
                shared.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        captured
    }

    fn nothing() -> Captured {
        Captured::of(std::io::empty())
    }

    /// Waits until `look`, given the output so far and whether it is complete, returns a value.
    pub fn wait<T>(&self, what: &str, look: impl Fn(&[u8], bool) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut written = self.shared.0.lock().unwrap();
        loop {
            if let Some(found) = look(&written.bytes, written.over) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let so_far = String::from_utf8_lossy(&written.bytes).into_owned();
                drop(written);
                panic!("within {PATIENCE:?} the output has no {what}:\n{so_far:.4000}");
            }
            written = self.shared.1.wait_timeout(written, left).unwrap().0;
        }
    }

    /// Waits until a text is in the output.
    pub fn wait_for(&self, text: &str) {
        self.wait(text, |bytes, _| String::from_utf8_lossy(bytes).contains(text).then_some(()));
    }

    fn line(&mut self) -> Option<String> {
        let taken = self.taken;
        let line = self.wait("another line", |bytes, over| {
            let rest = &bytes[taken..];
            match rest.iter().position(|b| *b == b'\n') {
                Some(end) => Some(Some(String::from_utf8(rest[..end].to_vec()).unwrap())),
                None => over.then_some(None),
            }
        })?;
        self.taken += line.len() + 1;
        Some(line)
    }

    pub fn text(&self) -> String {
        // Not poisoned by a failing test: nothing panics while the lock is held.
        String::from_utf8_lossy(&self.shared.0.lock().unwrap().bytes).into_owned()
    }

    fn to_the_end(&self) -> String {
        self.wait("the end", |_, over| over.then_some(()));
        self.text()
    }
}

/// A program that has ended.
pub struct Run {
    command: String,
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Checks the exit code.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "\n{self}");
        self
    }

    /// Checks that it has succeeded.
    #[track_caller]
    pub fn ok(self) -> Run {
        self.ends_with(0)
    }

    /// Checks that stderr contains a text.
    #[track_caller]
    pub fn says(self, text: &str) -> Run {
        assert!(self.stderr.contains(text), "stderr lacks {text:?}\n{self}");
        self
    }

    /// Stdout as one JSON value a line.
    pub fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}\n{self}"))).collect()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run { command, code, stdout, stderr } = self;
        writeln!(f, "command: {command}\ncode: {code:?}\nstdout:\n{stdout:.4000}\nstderr:\n{stderr:.4000}")
    }
}
