//! The daemon in a benchmark: measured through `/proc`, killed when dropped. Needs Linux.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::program;

/// The result of a benchmark.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A benchmark of a program, which prints its lines.
pub type Benchmark = fn() -> Result<()>;

/// Runs the benchmarks that the command line names, or all, after `begin`, which prints the heading.
///
/// # Errors
///
/// A name is unknown, or a benchmark has failed.
pub fn run(all: &[(&str, Benchmark)], begin: impl FnOnce() -> Result<()>) -> Result<()> {
    // Cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = wanted.iter().find(|wanted| !names.contains(&wanted.as_str())) {
        return Err(format!("no benchmark `{unknown}`; there are {}", names.join(", ")).into());
    }
    begin()?;
    for (name, run) in all {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            run().map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(())
}

/// The timeout of every wait for the daemon.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Raises the limit of descriptors of this process and its children to the most that is allowed.
pub fn raise_limit() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    match maximum {
        Some(maximum) if maximum < 15_000 => {
            Err(format!("a process may have {maximum} descriptors here; 15,000 are needed").into())
        }
        _ => Ok(()),
    }
}

/// The processors that this process was allowed to use at its start.
fn processors() -> &'static [usize] {
    static ALL: OnceLock<Vec<usize>> = OnceLock::new();
    ALL.get_or_init(|| {
        let set = sched_getaffinity(None).unwrap_or_default();
        (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
    })
}

/// Lets this thread, and those that it starts, run on some processors only.
fn stay_on(processors: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for processor in processors {
        set.set(*processor);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Lets this thread run only where daemons [run on one processor](On::One).
pub fn stay_where_daemons_are_alone() -> Result<()> {
    stay_on(&processors()[..1])
}

/// Where the daemon runs.
#[derive(Clone, Copy)]
pub enum On {
    /// On all processors, the load as well.
    All,
    /// On one processor, the load on any.
    One,
}

/// Keeps this thread, and those that it starts, off the processor of the daemons that run on [`One`](On::One), while
/// it lives and there are others.
pub struct Apart(());

impl Apart {
    pub fn begin() -> Result<Apart> {
        if let [_, others @ ..] = processors()
            && !others.is_empty()
        {
            stay_on(others)?;
        }
        Ok(Apart(()))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = stay_on(processors());
    }
}

/// A daemon. Killed when dropped.
pub struct Daemon {
    child: Child,
    socket: PathBuf,
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// Starts a daemon and waits until it answers.
    pub fn start(on: On, options: &[&str]) -> Result<Daemon> {
        Daemon::start_with(on, options, &[])
    }

    /// The same, with variables in its environment.
    pub fn start_with(on: On, options: &[&str], environment: &[(&str, &str)]) -> Result<Daemon> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("bus.sock");
        let mut command = Command::new(program("sse-busd"));
        command.args(["--no-config", "--listen", "127.0.0.1:0", "--log", "error", "--socket"]).arg(&socket);
        command.envs(environment.iter().copied());
        command.args(options).stdin(Stdio::null()).stdout(Stdio::null());
        // The child inherits where this thread may run.
        let (all, usual) = (processors(), sched_getaffinity(None)?);
        match on {
            On::One => stay_where_daemons_are_alone()?,
            On::All => stay_on(all)?,
        }
        let child = command.spawn();
        sched_setaffinity(None, &usual)?;
        let mut daemon = Daemon { child: child?, socket, address: ([127, 0, 0, 1], 0).into(), _folder: folder };
        let until = Instant::now() + PATIENCE;
        while UnixStream::connect(&daemon.socket).is_err() {
            if let Some(status) = daemon.child.try_wait()? {
                return Err(format!("the daemon has ended: {status}").into());
            }
            if Instant::now() > until {
                return Err("the daemon does not start".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        let status = daemon.publisher()?.status()?;
        let url = status["url"].as_str().unwrap_or_default();
        daemon.address = url.strip_prefix("http://").unwrap_or_default().parse()?;
        Ok(daemon)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The path of the local socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A connection to the local socket.
    pub fn connect(&self) -> Result<UnixStream> {
        let socket = UnixStream::connect(&self.socket)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(socket)
    }

    pub fn publisher(&self) -> Result<Publisher> {
        let socket = self.connect()?;
        let replies = BufReader::new(socket.try_clone()?);
        Ok(Publisher { socket, replies })
    }

    /// The processor time of each of its threads, in seconds.
    pub fn threads(&self) -> Result<Vec<f64>> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()))?;
        tasks.map(|task| on_processor(&fs::read_to_string(task?.path().join("schedstat"))?)).collect()
    }

    /// Its processor time, in seconds.
    pub fn cpu(&self) -> Result<f64> {
        Ok(self.threads()?.iter().sum())
    }

    /// Bytes of memory that it has resident.
    pub fn resident(&self) -> Result<i64> {
        self.kibibytes("smaps_rollup", "Rss:")
    }

    /// The peak of its resident memory since [`forget_peak`](Daemon::forget_peak).
    pub fn peak(&self) -> Result<i64> {
        self.kibibytes("status", "VmHWM:")
    }

    pub fn forget_peak(&self) -> Result<()> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    fn kibibytes(&self, file: &str, name: &str) -> Result<i64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB"));
        Ok(value.ok_or("the system does not report the memory")?.trim().parse::<i64>()? << 10)
    }

    /// Descriptors that it has open.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }
}

/// The processor time of this process, in seconds.
pub fn own_cpu() -> Result<f64> {
    let tasks = fs::read_dir("/proc/self/task")?;
    tasks.map(|task| on_processor(&fs::read_to_string(task?.path().join("schedstat"))?)).sum()
}

/// Seconds on a processor: the first field of a thread's `schedstat`, which has nanoseconds.
fn on_processor(schedstat: &str) -> Result<f64> {
    let field = schedstat.split(' ').next().unwrap_or_default();
    Ok(field.parse::<u64>()? as f64 * 1e-9)
}

/// A connection to the local socket that publishes JSON lines without waiting for replies.
pub struct Publisher {
    socket: UnixStream,
    replies: BufReader<UnixStream>,
}

impl Publisher {
    /// Sends lines made with [`event`].
    pub fn send(&mut self, lines: &str) -> Result<()> {
        Ok(self.socket.write_all(lines.as_bytes())?)
    }

    /// The daemon's status, once it has processed everything before.
    pub fn status(&mut self) -> Result<Value> {
        self.socket.write_all(b"{\"status\":{}}\n")?;
        let mut line = String::new();
        self.replies.read_line(&mut line)?;
        let reply: Value = serde_json::from_str(&line)?;
        match reply.get("status") {
            Some(status) => Ok(status.clone()),
            None => Err(format!("the daemon answers {line}").into()),
        }
    }

    /// The id of the newest event.
    pub fn position(&mut self) -> Result<String> {
        Ok(self.status()?["position"].as_str().unwrap_or_default().to_owned())
    }
}

/// The line that publishes an event.
pub fn event(topic: &str, data: &str) -> String {
    format!("{{\"publish\":{{\"topic\":\"{topic}\",\"data\":\"{data}\",\"ack\":\"none\"}}}}\n")
}
