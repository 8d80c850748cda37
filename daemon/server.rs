//! The daemon's life: bind, accept, serve, drain.
//!
//! There is one token that stops everything, one place that listens to signals, and one deadline for the drain: streams
//! end, answers under way are finished, and what is left after [`DRAIN`] is cut.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, IsTerminal},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use sse_bus::{
    Epoch,
    bus::{Bus, TICK, history::Memory},
    limits::DRAIN,
    protocol::Status,
    tokens::TokenFile,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    time::MissedTickBehavior,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    access::Access,
    config::Config,
    descriptors::Places,
    fanout::Fanout,
    holder,
    http::{Http, RefusedOrigins, origin::Scheme},
    ipc,
    metrics::Metrics,
    shared::SharedBus,
};

/// What every task of the daemon can reach.
pub(crate) struct Daemon {
    pub(crate) bus: SharedBus,
    pub(crate) config: Config,
    /// Where browsers find it; the port is the real one.
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Metrics,
    pub(crate) fanout: Fanout,
    pub(crate) access: Arc<Access>,
    pub(crate) refused_origins: RefusedOrigins,
    /// A place for each connection.
    pub(crate) places: Places,
    /// Stops everything.
    pub(crate) stop: CancellationToken,
    /// All connections.
    pub(crate) tasks: TaskTracker,
}

impl Daemon {
    /// What comes of a future, unless the daemon is stopped before.
    pub(crate) async fn or_stop<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.stop.run_until_cancelled(future).await
    }

    /// Where browsers find it, without a slash at the end: its own origin, as browsers write it.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.address)
    }

    pub(crate) fn scheme(&self) -> Scheme {
        if self.config.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }

    /// The daemon, described.
    pub(crate) fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_ms: self.bus.uptime(),
            url: Some(self.url()),
            socket: self.config.endpoint.to_string(),
            state_dir: self.config.state_dir.display().to_string(),
            refused_origins: self.refused_origins.list(),
            ..self.bus.with(|bus, _| bus.status())
        }
    }
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
///
/// Says in one line what could not be had, who has it, and what to do.
pub(crate) async fn run(config: Config) -> Result<(), String> {
    let stop = CancellationToken::new();
    let signals = on_signal(stop.clone()).map_err(|e| format!("signals cannot be listened to: {e}"))?;
    // The local socket first: it tells best whether there is a daemon already.
    let local = ipc::Listener::bind(&config.endpoint, &config.guests).await?;
    let tcp = listen(config.listen).map_err(|e| cannot_listen(config.listen, &e))?;
    let address = tcp.local_addr().map_err(|e| format!("{}: {e}", config.listen))?;

    // Random, so that no earlier bus of this user had the same.
    let epoch = Epoch::from_seed(RandomState::new().hash_one(std::process::id()));
    let history = Box::new(Memory::new(config.retention.clone()));
    let bus = SharedBus::new(Bus::new(epoch, config.limits.clone(), history));
    let metrics = Metrics::new(&bus);
    let (fanout, tasks) = (Fanout::new(), TaskTracker::new());
    let places = Places::new();
    for shard in fanout.tasks(&bus, &stop) {
        tasks.spawn(shard);
    }
    let daemon = Arc::new(Daemon {
        access: Arc::new(Access::new(address, TokenFile::in_directory(&config.state_dir))),
        refused_origins: RefusedOrigins::default(),
        bus,
        config,
        address,
        metrics,
        fanout,
        places,
        stop: stop.clone(),
        tasks,
    });
    let http = Http::new(daemon.clone());
    greet(&daemon);

    let accepting = [
        tokio::spawn(signals),
        tokio::spawn(tick(daemon.clone())),
        tokio::spawn(http.clone().accept(tcp)),
        tokio::spawn(ipc::accept(local, daemon.clone(), http)),
    ];
    for task in accepting {
        if let Err(error) = task.await {
            warn!(%error, "a part of the daemon has failed");
            stop.cancel();
        }
    }
    daemon.tasks.close();
    if tokio::time::timeout(DRAIN, daemon.tasks.wait()).await.is_err() {
        warn!(connections = daemon.tasks.len(), "cut what had not ended in {} s", DRAIN.as_secs());
    }
    info!("stopped");
    Ok(())
}

/// What was accepted, if it could be. Where that fails, for want of descriptors::Places, this waits a moment: nothing is served
/// better by a busy loop.
pub(crate) async fn accepted<T>(connection: io::Result<T>) -> Option<T> {
    const PAUSE: Duration = Duration::from_millis(100);
    match connection {
        Ok(connection) => Some(connection),
        Err(error) => {
            warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

async fn tick(daemon: Arc<Daemon>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if daemon.or_stop(ticks.tick()).await.is_none() {
            return;
        }
        daemon.bus.with(Bus::tick);
        let over = daemon.access.ended();
        if !over.is_empty() {
            daemon.bus.with(|bus, now| over.into_iter().filter(|client| bus.disconnect(*client, now)).count());
        }
    }
}

/// Cancels the token when the process is told to stop.
#[cfg(unix)]
fn on_signal(stop: CancellationToken) -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // The terminal was closed.
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM: stopping"),
            _ = interrupt.recv() => info!("SIGINT: stopping"),
            _ = hangup.recv() => info!("SIGHUP: stopping"),
            () = stop.cancelled() => {}
        }
        stop.cancel();
    })
}

/// Cancels the token when the process is told to stop.
#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "listening to signals can fail elsewhere")]
fn on_signal(stop: CancellationToken) -> io::Result<impl Future<Output = ()>> {
    Ok(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => info!("stopping"),
            () = stop.cancelled() => {}
        }
        stop.cancel();
    })
}

/// Listens for browsers. Accepted sockets inherit the bound of what the kernel holds for their peers.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    /// Bytes of events that the kernel holds for a peer that does not read. More would only be memory pinned by peers that do not read:
    /// what does not fit waits in the feed, once for all.
    const HELD: u32 = 64 << 10;
    /// Connections that wait to be accepted, when many come back in one instant. The kernel has the last word.
    const BACKLOG: u32 = 4096;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // On Windows this would let another process take the port over; elsewhere it only skips a wait after a restart.
    socket.set_reuseaddr(cfg!(unix))?;
    // A bound of what is not sent lets the buffers of those that do read grow.
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&socket).set_tcp_notsent_lowat(HELD)?;
    // Nothing is congested within a machine, and where BBR is the system's choice it would pace each connection with
    // timers: without, a replay is 5 to 25 % faster. Every kernel has Reno; if it cannot be had nothing is lost.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&socket).set_tcp_congestion(b"reno");
    #[cfg(not(target_os = "linux"))]
    socket.set_send_buffer_size(HELD)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = holder::of_port(address).unwrap_or_else(|| "another process".into());
            format!("{address} is in use by {holder}; stop it, or choose another port with --listen 127.0.0.1:PORT")
        }
        _ => format!("{address} cannot be listened on: {error}; choose another with --listen"),
    }
}

/// Says where the daemon listens: to a person on a terminal with what to do next, and in the log.
fn greet(daemon: &Daemon) {
    let Daemon { address, config, .. } = daemon;
    if io::stdout().is_terminal() {
        let socket = match &config.endpoint {
            usual if sse_bus::Endpoint::find().is_ok_and(|found| found == *usual) => String::new(),
            endpoint => format!(" --socket {endpoint}"),
        };
        println!(
            "sse-busd {version} listens on\n\n  {url}/   for browsers and curl\n  {endpoint}   for programs of \
             this user\n\nOpen the address in a browser, then try\n\n  sse-busctl{socket} publish hello world\n  \
             sse-busctl{socket} subscribe '**'\n  curl -N {url}/events/hello\n\nCtrl-C stops it.\n",
            version = env!("CARGO_PKG_VERSION"),
            url = daemon.url(),
            endpoint = config.endpoint,
        );
    }
    info!(version = env!("CARGO_PKG_VERSION"), http = %address, socket = %config.endpoint, "listening");
}
