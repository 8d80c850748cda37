//! A daemon with a port and a folder of its own, and the command line for it.

use std::{
    fs::{self, File},
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{eventually, inherited_sockets::InheritedSockets};

/// A running `sse-busd`. Killed, and its folder removed, when it is dropped; if the test has failed its log is printed.
pub struct Bus {
    folder: TempDir,
    listen: SocketAddr,
    arguments: Vec<String>,
    /// Its sockets, if it inherits them.
    held: Option<InheritedSockets>,
    daemon: Option<Child>,
}

/// The outcome of a command.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Bus {
    /// Starts a daemon and waits until it answers.
    pub async fn start() -> Bus {
        Bus::start_with(&[]).await
    }

    /// Starts a daemon with some more arguments.
    pub async fn start_with(arguments: &[&str]) -> Bus {
        Bus::start_at(free_port(), arguments).await
    }

    /// Starts a daemon on a given port.
    pub async fn start_at(port: u16, arguments: &[&str]) -> Bus {
        let mut bus = Bus::new((Ipv4Addr::LOCALHOST, port).into(), arguments);
        bus.restart().await;
        bus
    }

    /// Starts a daemon whose port and local socket stay open while it is down.
    pub async fn start_held(arguments: &[&str]) -> Bus {
        let mut bus = Bus::new((Ipv4Addr::LOCALHOST, 0).into(), arguments);
        let held = InheritedSockets::bind(&bus.socket()).expect("the sockets can be bound");
        bus.listen = held.http.local_addr().expect("it has an address");
        bus.held = Some(held);
        bus.restart().await;
        bus
    }

    /// Starts a daemon that listens for other machines without TLS, and returns a token for it.
    pub async fn start_exposed(arguments: &[&str]) -> (Bus, String) {
        let mut bus = Bus::new((Ipv4Addr::UNSPECIFIED, free_port()).into(), arguments);
        let state = bus.state().display().to_string();
        let made = bus.ctl(&["token", "--state-dir", &state, "create", "--json"]).await.stdout;
        let made: Value = serde_json::from_str(&made).expect("one JSON value");
        let token = made["token"].as_str().expect("it is shown once").to_owned();
        bus.arguments.push("--insecure".into());
        bus.restart().await;
        (bus, token)
    }

    /// Creates a token with scopes, separated by commas.
    pub async fn token(&self, scopes: &str) -> String {
        let state = self.state().display().to_string();
        let made = self.ctl(&["token", "--state-dir", &state, "create", "--scope", scopes, "--json"]).await.stdout;
        let made: Value = serde_json::from_str(&made).expect("one JSON value");
        made["token"].as_str().expect("it is shown once").to_owned()
    }

    /// Revokes all tokens.
    pub async fn revoke_all(&self) {
        let state = self.state().display().to_string();
        let listed = self.ctl(&["token", "--state-dir", &state, "list", "--json"]).await.stdout;
        for token in listed.lines() {
            let token: Value = serde_json::from_str(token).expect("a JSON value");
            let id = token["id"].as_str().expect("it has an ID");
            self.ctl(&["token", "--state-dir", &state, "revoke", id]).await;
        }
    }

    fn new(listen: SocketAddr, arguments: &[&str]) -> Bus {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let folder = tempfile::Builder::new().prefix("sse-bus-test-").tempdir().expect("a temporary folder");
        Bus { folder, listen, arguments, held: None, daemon: None }
    }

    /// Starts the daemon again, on the same port and socket.
    pub async fn restart(&mut self) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        let log = File::options().create(true).append(true).open(self.log_path()).expect("the log opens");
        let mut daemon = Command::new(binary("sse-busd"));
        daemon.arg("--no-config").arg("--state-dir").arg(self.state()).args(&self.arguments);
        let started = match &self.held {
            Some(held) => held.spawn(quiet(&mut held.given_to(&daemon), log)),
            None => {
                daemon.args(["--listen", &self.listen.to_string(), "--socket"]).arg(self.socket());
                quiet(&mut daemon, log).spawn()
            }
        };
        let daemon = started.expect("sse-busd starts; build it, or name its folder in SSE_BUS_BIN_DIR");
        self.daemon = Some(daemon);
        eventually("the daemon to listen", async || {
            if let Some(status) = self.daemon.as_mut().unwrap().try_wait().expect("the daemon is a child process") {
                panic!("the daemon ended with {status}");
            }
            UnixStream::connect(self.socket()).map_err(|e| e.to_string())
        })
        .await;
        let url = self.ctl(&["url"]).await.stdout;
        assert_eq!(url.trim().trim_end_matches('/'), format!("http://{}", self.listen));
    }

    /// Stops the daemon as a service manager does, and waits for its end.
    pub async fn stop(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        kill_process(Pid::from_child(&daemon), Signal::TERM).expect("a child process can be signalled");
        wait_for(&mut daemon, "the daemon to stop").await
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.listen.port()
    }

    /// Kills the daemon, as a crash would.
    pub async fn crash(&mut self) {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        daemon.kill().expect("a child process can be killed");
        wait_for(&mut daemon, "the daemon to end").await;
    }

    /// The URL for browsers, without a final slash.
    pub fn url(&self) -> String {
        self.url_as("127.0.0.1")
    }

    /// The same with another name that resolves to it.
    pub fn url_as(&self, name: &str) -> String {
        format!("http://{name}:{}", self.listen.port())
    }

    /// Its port on loopback.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.listen.port())
    }

    /// The test's folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What the daemon has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).expect("the log is readable")
    }

    /// The daemon's response to a request of this machine's user, without a browser.
    pub async fn get(&self, path: &str) -> String {
        let address = self.address();
        let mut daemon = tokio::net::TcpStream::connect(&address).await.expect("the daemon listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        daemon.write_all(request.as_bytes()).await.expect("the daemon reads");
        let mut response = String::new();
        daemon.read_to_string(&mut response).await.expect("the daemon answers");
        response
    }

    /// A subscriber that writes its output to a file.
    pub fn curl(&self, target: &str, file: &Path) -> Process {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--no-buffer", "--globoff", "--noproxy", "*"])
            .arg(format!("{}{target}", self.url()));
        Process::start(&mut curl, file)
    }

    /// Runs `sse-busctl` to its end, within a bound.
    pub async fn ctl(&self, args: &[&str]) -> Output {
        self.ctl_reading(args, Stdio::null()).await
    }

    /// Runs `sse-busctl` with something on its standard input.
    pub async fn ctl_reading(&self, args: &[&str], stdin: impl Into<Stdio>) -> Output {
        // Files, because a pipe that is not read fills up.
        let [out, err] = ["ctl.out", "ctl.err"].map(|name| self.path().join(name));
        let child = Command::new(binary("sse-busctl"))
            .arg("--socket")
            .arg(self.socket())
            .args(args)
            .stdin(stdin)
            .stdout(File::create(&out).expect("a file in the test's folder"))
            .stderr(File::create(&err).expect("a file in the test's folder"))
            .spawn()
            .expect("sse-busctl starts");
        let status = wait_for(&mut Process(child).0, &format!("sse-busctl {args:?} to end")).await;
        let read = |path| String::from_utf8_lossy(&fs::read(path).expect("just written")).into_owned();
        let output = Output { status, stdout: read(out), stderr: read(err) };
        assert!(output.status.success(), "sse-busctl {args:?}: {output:?}");
        output
    }

    /// The JSON values that a command prints, one a line.
    pub async fn json(&self, args: &[&str]) -> Vec<Value> {
        let printed = self.ctl(&[args, &["--json"]].concat()).await.stdout;
        printed.lines().map(|line| serde_json::from_str(line).expect("a JSON value")).collect()
    }

    /// Waits until this number of subscribers is connected.
    pub async fn subscribers(&self, count: usize) {
        eventually(&format!("{count} subscribers"), async || {
            let listed = self.ctl(&["clients", "--json"]).await.stdout;
            match listed.matches(r#""role":"subscriber""#).count() {
                n if n == count => Ok(()),
                _ => Err(listed),
            }
        })
        .await;
    }

    /// The program of the command line.
    pub fn control() -> PathBuf {
        binary("sse-busctl")
    }

    fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Its local socket.
    pub fn socket(&self) -> PathBuf {
        self.path().join("bus.sock")
    }

    fn log_path(&self) -> PathBuf {
        self.path().join("busd.log")
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}--- end ---", self.log());
        }
    }
}

/// A process that is killed when it is dropped.
pub struct Process(Child);

impl Process {
    /// Starts a program that writes to a file.
    pub fn start(command: &mut Command, file: &Path) -> Process {
        let file = File::create(file).expect("a file in the test's folder");
        Process(command.stdout(file).spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    /// Writes a line to its standard input, which must be a pipe, and closes it.
    pub fn tell(&mut self, line: &str) {
        let mut stdin = self.0.stdin.take().expect("its standard input is a pipe");
        writeln!(stdin, "{line}").expect("it reads");
    }

    /// Waits until it exits.
    pub async fn exited(&mut self) -> ExitStatus {
        wait_for(&mut self.0, "the process to exit").await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn wait_for(child: &mut Child, what: &str) -> ExitStatus {
    eventually(what, async || child.try_wait().expect("a child process").ok_or_else(|| "it still runs".to_owned()))
        .await
}

fn quiet(daemon: &mut Command, log: File) -> &mut Command {
    daemon.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log)
}

fn binary(name: &str) -> PathBuf {
    let folder = std::env::var_os("SSE_BUS_BIN_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug"), PathBuf::from);
    folder.join(name)
}

/// A free port below the ephemeral range, so that it is still free when a stopped daemon restarts.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 10_000) as u16;
    (0..10_000)
        .map(|_| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000)
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("one of ten thousand ports is free")
}

/// Publishes as a program of this machine's user does, without a browser, and returns the whole response.
///
/// # Errors
///
/// The daemon does not run, or ends before it has answered.
pub async fn post(address: &str, path: &str, body: &str) -> io::Result<String> {
    let mut daemon = tokio::net::TcpStream::connect(address).await?;
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    daemon.write_all((head + body).as_bytes()).await?;
    let mut response = String::new();
    daemon.read_to_string(&mut response).await?;
    Ok(response)
}
