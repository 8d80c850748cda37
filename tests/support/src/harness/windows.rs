//! The daemon, the command line and connections to the pipe on Windows.

use std::{
    fs,
    os::windows::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;
use sse_bus::{Endpoint, endpoint::Stream};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    runtime::Runtime,
    time::timeout,
};

use super::{PATIENCE, Process, Run, process, program, until};

/// A console of its own, without a window, so that Ctrl-C reaches this process alone.
const CREATE_NO_WINDOW: u32 = 0x0800_0000;

/// A folder, and commands that run there.
pub struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    pub fn new() -> Sandbox {
        Sandbox { folder: tempfile::Builder::new().prefix("sse-bus-").tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A name that is unique on this machine.
    pub fn name(&self) -> String {
        self.folder.path().file_name().unwrap().to_str().unwrap().into()
    }

    pub fn pipe(&self) -> String {
        format!(r"\\.\pipe\{}", self.name())
    }

    /// A command without the user's settings of the bus.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        // Wine accepts a Unix path with a drive.
        let mut command = Command::new(std::path::absolute(program).unwrap());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SSE_BUS_")) {
            command.env_remove(name);
        }
        command.env_remove("RUST_LOG").current_dir(self.folder.path()).creation_flags(CREATE_NO_WINDOW);
        command
    }

    /// `sse-busd` with these flags, not started.
    pub fn busd(&self, flags: &[&str]) -> Command {
        let mut busd = self.command(program("sse-busd"));
        busd.args(["--no-config", "--listen", "127.0.0.1:0"]).arg("--state-dir").arg(self.path("state")).args(flags);
        busd
    }

    /// `sse-busctl` for the daemon in this folder, not started.
    pub fn busctl(&self, args: &[&str]) -> Command {
        let mut busctl = self.command(program("sse-busctl"));
        busctl.env("SSE_BUS_SOCKET", self.pipe()).args(args);
        busctl
    }
}

/// A daemon. Killed when dropped.
pub struct Daemon {
    pub sandbox: Sandbox,
    flags: Vec<String>,
    child: Child,
    /// The address of its port, such as `127.0.0.1:51842`.
    pub address: String,
}

impl Daemon {
    pub fn start(flags: &[&str]) -> Daemon {
        let sandbox = Sandbox::new();
        let pipe = sandbox.pipe();
        let flags: Vec<String> = [&["--socket", &pipe], flags].concat().into_iter().map(str::to_owned).collect();
        let child = spawn(&sandbox, &flags);
        let mut daemon = Daemon { sandbox, flags, child, address: String::new() };
        daemon.wait_until_it_answers();
        daemon
    }

    /// Starts it again after its end, with the same flags. The port may differ.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.sandbox, &self.flags);
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&mut self) {
        let mut pipe = until("the daemon answers", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the daemon has ended: {status}");
            }
            Pipe::open(&self.sandbox.pipe())
        });
        let url = pipe.ask(r#"{"status":{}}"#)["status"]["url"].as_str().unwrap().to_owned();
        self.address = url.split_once("://").unwrap().1.into();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end and returns the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        until("the daemon ends", || self.child.try_wait().unwrap()).code()
    }

    /// Ends it as the task manager would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8(fs::read(self.sandbox.path("daemon.log")).unwrap()).unwrap()
    }

    /// Runs `sse-busctl` to its end.
    pub fn ctl(&self, args: &[&str]) -> Run {
        self.spawn_ctl(args).finish()
    }

    /// Starts `sse-busctl`.
    pub fn spawn_ctl(&self, args: &[&str]) -> Process {
        Process::start(self.sandbox.busctl(args))
    }

    /// A connection to the pipe.
    pub fn pipe(&self) -> Pipe {
        Pipe::open(&self.sandbox.pipe()).expect("a connection to the pipe")
    }

    /// An HTTP request over the pipe; returns the status and the body.
    pub fn request_locally(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut pipe = self.pipe();
        let length = body.len();
        pipe.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: bus\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        let response = pipe.rest();
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {response:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{head}")), serde_json::from_str(body).unwrap())
    }

    /// Starts `curl` on a URL of the port, with a file for its output. Under Wine it is a Linux process, whose pipes
    /// and end are not available here; it ends with the daemon.
    #[expect(clippy::zombie_processes, reason = "there is nothing to wait with")]
    pub fn curl(&self, path: &str, file: &str, headers: &[&str]) {
        let curl = if Path::new("/usr/bin/curl").exists() { "/usr/bin/curl" } else { "C:/Windows/System32/curl.exe" };
        let mut command = self.sandbox.command(curl);
        command.args(["-sSN", "--noproxy", "*", "--max-time", "20", "--output", file]);
        for header in headers {
            command.args(["-H", header]);
        }
        command.arg(format!("http://{}{path}", self.address));
        process::spawn(&mut command);
    }

    /// Waits until a text is in a file.
    pub fn wait_for_file(&self, file: &str, text: &str) {
        until(&format!("{text:?} in {file}"), || {
            fs::read_to_string(self.sandbox.path(file)).ok().filter(|content| content.contains(text))
        });
    }
}

fn spawn(sandbox: &Sandbox, flags: &[String]) -> Child {
    let log = fs::File::options().create(true).append(true).open(sandbox.path("daemon.log")).unwrap();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut command = sandbox.busd(&flags);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    process::spawn(&mut command)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("\ndaemon: sse-busd {}\nlog:\n{}", self.flags.join(" "), self.log());
        }
    }
}

/// A connection to the pipe.
pub struct Pipe {
    runtime: Runtime,
    stream: BufReader<Stream>,
}

impl Pipe {
    /// Connects; `None` if there is no daemon.
    pub fn open(name: &str) -> Option<Pipe> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stream = runtime.block_on(Endpoint::at(name).connect()).ok()?;
        Some(Pipe { runtime, stream: BufReader::new(stream) })
    }

    pub fn send(&mut self, text: &str) {
        let sent = timeout_in(&self.runtime, async {
            self.stream.write_all(text.as_bytes()).await?;
            self.stream.flush().await
        });
        sent.expect("the daemon reads");
    }

    /// The next line; `None` at the end of the connection.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout_in(&self.runtime, self.stream.read_line(&mut line));
        (read.is_ok_and(|read| read > 0)).then_some(line)
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        timeout_in(&self.runtime, self.stream.read_to_string(&mut rest)).expect("the rest of the connection");
        rest
    }

    /// Sends a line of JSON and returns the reply.
    pub fn ask(&mut self, line: &str) -> Value {
        self.send(&format!("{line}\n"));
        self.reply()
    }

    /// The next line of JSON.
    pub fn reply(&mut self) -> Value {
        let line = self.line().expect("the daemon has closed the connection");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }

    /// The data of the next event.
    pub fn event(&mut self) -> String {
        let reply = self.reply();
        reply["event"]["data"].as_str().unwrap_or_else(|| panic!("no event: {reply}")).into()
    }
}

fn timeout_in<T>(runtime: &Runtime, io: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    runtime.block_on(async { timeout(PATIENCE, io).await.expect("the daemon answers in time") })
}
