//! The daemon and the programs around it, as real processes, and what a failing test shows of them.
//!
//! Each [`Daemon`] has a folder, a socket and a port of its own, so tests run at the same time. It is killed when it is
//! dropped. Nothing sleeps to let something happen: [`until`] looks for a condition, and every read has a deadline.

mod frames;
pub(crate) mod http;
mod http2;
mod lines;
mod process;
mod subscribers;

use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use sse_bus::protocol::binary::Version;
use tempfile::TempDir;

pub(crate) use self::{
    frames::Frames,
    http::{EventStream, Response, Sse},
    http2::Http2,
    lines::Lines,
    process::{Process, Run, after},
    subscribers::{Crowd, Member},
};

/// The longest that anything is waited for, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The variable that has all streams of tests take the other of the two paths.
const LOCAL_STREAMS: &str = "SSE_BUS_TEST_LOCAL_STREAMS";

/// Looks again and again until something has come about.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "within {PATIENCE:?} this did not come about: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The text with every byte as URLs write the unusual ones.
pub(crate) fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = write!(encoded, "%{byte:02X}");
        encoded
    })
}

/// Runs a future of the library's client.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("the client waits too long") })
}

/// A folder of its own, and programs that find everything there.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place { folder: tempfile::Builder::new().prefix("sse-bus-").tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/bus.sock")
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }

    /// A command that sees nothing of the user's own environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SSE_BUS_")) {
            command.env_remove(name);
        }
        command.env_remove("RUST_LOG").current_dir(self.folder.path());
        for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
            command.env(name, self.folder.path());
        }
        command
    }

    /// `sse-busd`, not started.
    pub(crate) fn busd(&self) -> Command {
        self.command(env!("CARGO_BIN_EXE_sse-busd"))
    }

    /// `sse-busd` with the usual flags, run to its end; for daemons that cannot start.
    pub(crate) fn busd_fails(&self, flags: &[&str]) -> Run {
        let mut busd = self.busd();
        busd.arg("--no-config").args(flags);
        Process::start(busd).finish()
    }

    /// `sse-busctl` for the daemon of this place.
    pub(crate) fn busctl<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Command {
        let mut busctl = self.command(env!("CARGO_BIN_EXE_sse-busctl"));
        busctl.env("SSE_BUS_SOCKET", self.socket()).args(args);
        busctl
    }

    /// All files, each with its size.
    pub(crate) fn listing(&self) -> String {
        fn walk(folder: &Path, out: &mut String) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let size = entry.metadata().map_or(0, |data| data.len());
                let _ = writeln!(out, "  {} ({size} bytes)", entry.path().display());
                walk(&entry.path(), out);
            }
        }
        let mut out = String::new();
        walk(self.folder.path(), &mut out);
        out
    }
}

/// A daemon. Killed when dropped.
pub(crate) struct Daemon {
    pub(crate) place: Place,
    /// Where it serves HTTP.
    pub(crate) address: SocketAddr,
    flags: Vec<String>,
    child: Child,
}

impl Daemon {
    /// A daemon without a configuration file.
    pub(crate) fn start(flags: &[&str]) -> Daemon {
        let flags: Vec<&str> = ["--no-config"].iter().chain(flags).copied().collect();
        Daemon::start_at(Place::new(), &flags)
    }

    /// A daemon with a configuration file.
    pub(crate) fn configured(toml: &str) -> Daemon {
        let place = Place::new();
        let file = place.file("config.toml", toml);
        Daemon::start_at(place, &["--config", &file])
    }

    /// A daemon at a place that is there already, with just these flags, the socket and a free port.
    pub(crate) fn start_at(place: Place, flags: &[&str]) -> Daemon {
        let socket = place.socket().display().to_string();
        let usual = ["--listen", "127.0.0.1:0", "--socket", &socket];
        let flags = usual.iter().chain(flags).map(ToString::to_string).collect::<Vec<_>>();
        Daemon::of_command(place, flags, |_| {})
    }

    /// A daemon whose command is changed before it starts.
    pub(crate) fn of_command(place: Place, flags: Vec<String>, change: impl FnOnce(&mut Command)) -> Daemon {
        let mut command = place.busd();
        change(&mut command);
        let child = spawn(&place, &mut command, &flags);
        let mut daemon = Daemon { place, address: SocketAddr::from(([0, 0, 0, 0], 0)), flags, child };
        daemon.wait_until_it_answers();
        daemon
    }

    /// Starts it again after its end, with the same flags. The port is another one.
    pub(crate) fn start_again(&mut self) {
        self.start_again_as(|_| {});
    }

    /// The same with a command that is changed before.
    pub(crate) fn start_again_as(&mut self, change: impl FnOnce(&mut Command)) {
        let mut command = self.place.busd();
        change(&mut command);
        self.child = spawn(&self.place, &mut command, &self.flags);
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&mut self) {
        let socket = self.place.socket();
        let status = until("the daemon answers", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the daemon has ended: {status}");
            }
            UnixStream::connect(&socket).ok().map(|stream| Lines::new(stream).ask(r#"{"status":{}}"#))
        });
        let url = status["status"]["url"].as_str().unwrap();
        self.address = url.split_once("://").unwrap().1.parse().unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        process::signal(self.pid(), signal);
    }

    /// Stops it as Ctrl-Z does. A signal is sent before it is felt: a busy machine lets threads go on for a while.
    pub(crate) fn suspend(&self) {
        self.signal(rustix::process::Signal::STOP);
        until("every thread is stopped", || {
            let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().flatten();
            let mut states = threads.map(|thread| fs::read_to_string(thread.path().join("stat")).unwrap_or_default());
            states.all(|state| state.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))).then_some(())
        });
    }

    /// Waits for its end and gives the exit code; nothing after a signal's end.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        until("the daemon ends", || self.child.try_wait().unwrap()).code()
    }

    /// Kills it as a crash would.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8(fs::read(self.place.path("daemon.log")).unwrap()).unwrap()
    }

    /// Waits until it has logged something: the log is written a little later than what it is about.
    pub(crate) fn has_logged(&self, text: &str) {
        until(&format!("the daemon logs {text:?}"), || self.log().contains(text).then_some(()));
    }

    /// Runs `sse-busctl` to its end.
    pub(crate) fn ctl(&self, args: &[&str]) -> Run {
        self.ctl_fed(args, b"")
    }

    /// Runs `sse-busctl` with something on stdin to its end.
    pub(crate) fn ctl_fed(&self, args: &[&str], stdin: &[u8]) -> Run {
        let mut process = self.spawn_ctl(args);
        process.feed(stdin);
        process.finish()
    }

    /// Starts `sse-busctl`.
    pub(crate) fn spawn_ctl(&self, args: &[&str]) -> Process {
        Process::start(self.place.busctl(args))
    }

    /// Starts `curl` on a stream.
    pub(crate) fn spawn_curl(&self, path: &str) -> Process {
        let mut curl = self.place.command("curl");
        curl.args(["-sSN", &format!("http://{}{path}", self.address)]);
        Process::start(curl)
    }

    /// A connection to the port.
    pub(crate) fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection to the local socket.
    pub(crate) fn local(&self) -> UnixStream {
        let stream = UnixStream::connect(self.place.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection that speaks JSON lines.
    pub(crate) fn lines(&self) -> Lines {
        Lines::new(self.local())
    }

    /// A connection that speaks binary frames, as the client does.
    pub(crate) fn frames(&self) -> Frames {
        self.frames_of(Version::CURRENT)
    }

    /// A connection that speaks binary frames of a version.
    pub(crate) fn frames_of(&self, version: Version) -> Frames {
        Frames::new(self.local(), version)
    }

    /// The endpoint, for the library's client.
    pub(crate) fn endpoint(&self) -> sse_bus::Endpoint {
        sse_bus::Endpoint::at(self.place.socket())
    }

    /// An HTTP request over TCP.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Response {
        let host = self.address.to_string();
        http::exchange(Box::new(self.tcp()), &host, method, path, headers, body.as_ref())
    }

    /// An HTTP request over the local socket.
    pub(crate) fn request_locally(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Response {
        self.request_locally_with(method, path, &[], body)
    }

    pub(crate) fn request_locally_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Response {
        http::exchange(Box::new(self.local()), "bus", method, path, headers, body.as_ref())
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    /// Publishes over HTTP and gives the event's id.
    pub(crate) fn publish(&self, topic: &str, data: impl AsRef<[u8]>) -> String {
        let response = self.request("POST", &format!("/events/{topic}"), &[], data);
        assert_eq!(response.status, 202, "{}", response.text());
        response.json()["id"].as_str().unwrap().into()
    }

    /// Opens a stream over TCP, where the fan-out owns the socket; with [`LOCAL_STREAMS`] in the environment over the
    /// local socket, where the stream is the ordinary body of an answer. What is promised is the same.
    pub(crate) fn stream(&self, path: &str) -> EventStream {
        self.stream_with(path, &[])
    }

    pub(crate) fn stream_with(&self, path: &str, headers: &[(&str, &str)]) -> EventStream {
        if std::env::var_os(LOCAL_STREAMS).is_some() {
            return EventStream::open(Box::new(self.local()), "bus", path, headers);
        }
        EventStream::open(Box::new(self.tcp()), &self.address.to_string(), path, headers)
    }

    /// Opens a stream over the local socket.
    pub(crate) fn stream_locally(&self, path: &str) -> EventStream {
        EventStream::open(Box::new(self.local()), "bus", path, &[])
    }

    /// The daemon's own account.
    pub(crate) fn status(&self) -> Value {
        self.get("/status").json()
    }

    /// Waits until there are so many subscribers.
    pub(crate) fn wait_for_subscribers(&self, wanted: u64) {
        until(&format!("{wanted} subscribers"), || (self.status()["subscribers"] == wanted).then_some(()));
    }

    /// The value of a line of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no metric {name} in\n{text}")).parse().unwrap()
    }
}

fn spawn(place: &Place, command: &mut Command, flags: &[String]) -> Child {
    let log = fs::File::options().create(true).append(true).open(place.path("daemon.log")).unwrap();
    command.args(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let (flags, log) = (self.flags.join(" "), self.log());
            eprintln!("\ndaemon: sse-busd {flags}\nfolder:\n{}log:\n{log}", self.place.listing());
        }
    }
}
