//! The daemon's life: bind, accept, serve, drain.
//!
//! There is one token that stops everything, and one deadline for the drain: nothing more is published, streams end once
//! they have what was, answers under way are finished, and what is left after [`DRAIN`] is cut. Further signals meanwhile
//! change nothing: it is over soon.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, IsTerminal},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use socket2::SockRef;
use sse_bus::{
    Epoch,
    bus::{Bus, Now, TICK, history::Memory},
    limits::{DRAIN, WARM},
    protocol::Status,
    tokens::TokenFile,
};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    access::Access,
    cli::HistoryKind,
    config::Config,
    descriptors::Places,
    fanout::Fanout,
    holder,
    http::{Http, RefusedOrigins, origin::Scheme},
    ipc,
    metrics::Metrics,
    service::{self, Sockets},
    shared::{SharedBus, unix_now},
    signals::{LogFilter, Signals},
    store::{Opened, Store},
};

/// What every task of the daemon can reach.
pub(crate) struct Daemon {
    pub(crate) bus: SharedBus,
    /// As it was read last.
    config: ArcSwap<Config>,
    pub(crate) log: LogFilter,
    /// Where browsers find it; the port is the real one.
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Metrics,
    pub(crate) fanout: Fanout,
    pub(crate) access: Arc<Access>,
    pub(crate) refused_origins: RefusedOrigins,
    /// Where history is kept, if not in memory only.
    pub(crate) store: Option<Arc<Store>>,
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

    /// The configuration, as it is now.
    pub(crate) fn config(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    /// Goes on with another configuration.
    pub(crate) fn configure(&self, config: Config) {
        self.bus.with(|bus, now| bus.configure(config.limits.clone(), config.retention.clone(), now));
        self.config.store(Arc::new(config));
        // There may be more beyond the new bounds than goes at once.
        self.bus.wake();
    }

    /// Begins the end. In this order: a stream that ends because of the token has had everything that was accepted.
    pub(crate) fn begin_to_stop(&self) {
        self.bus.with(|bus, _| bus.close());
        self.stop.cancel();
    }

    /// Where browsers find it, without a slash at the end: its own origin, as browsers write it.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.address)
    }

    pub(crate) fn scheme(&self) -> Scheme {
        if self.config().tls.is_some() { Scheme::Https } else { Scheme::Http }
    }

    /// The daemon, described.
    pub(crate) fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_ms: self.bus.uptime(),
            url: Some(self.url()),
            socket: self.config().endpoint.to_string(),
            state_dir: self.config().state_dir.display().to_string(),
            refused_origins: self.refused_origins.list(),
            history_trouble: self.store.as_ref().and_then(|store| store.trouble()).map(|why| why.to_string()),
            ..self.bus.look(Bus::status)
        }
    }
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
///
/// Says in one line what could not be had, who has it, and what to do.
pub(crate) async fn run(config: Config, sockets: Sockets, log: LogFilter) -> Result<(), String> {
    let stop = CancellationToken::new();
    let signals = Signals::listen().map_err(|e| format!("signals cannot be listened to: {e}"))?;
    // The local socket first: it tells best whether there is a daemon already.
    #[cfg(unix)]
    let held = sockets.ipc.map(|socket| ipc::Listener::of(socket, &config.guests));
    #[cfg(windows)]
    let held: Option<io::Result<ipc::Listener>> = None;
    let local = match held {
        Some(held) => held.map_err(|e| format!("the socket {} cannot be served: {e}", config.endpoint))?,
        None => ipc::Listener::bind(&config.endpoint, &config.guests).await?,
    };
    let tcp = match sockets.http {
        Some(socket) => serve_held(socket),
        None => listen(config.listen),
    };
    let tcp = tcp.map_err(|e| cannot_listen(config.listen, &e))?;
    let address = tcp.local_addr().map_err(|e| format!("{}: {e}", config.listen))?;

    // Random, so that no earlier bus of this user had the same.
    let epoch = Epoch::from_seed(RandomState::new().hash_one(std::process::id()));
    let mut opened = match config.history {
        HistoryKind::Memory => None,
        HistoryKind::Disk => Some(Opened::open(&config.state_dir, epoch)?),
    };
    let history = match opened {
        None => Memory::new(config.retention.clone()),
        Some(_) => Memory::journaled(config.retention.clone(), WARM),
    };
    let epoch = opened.as_ref().and_then(Opened::epoch).unwrap_or(epoch);
    let mut bus = Bus::new(epoch, config.limits.clone(), Box::new(history));
    // What an earlier daemon has left has its age by the wall clock, but never less than it had.
    let clock = opened.as_ref().map_or(1, |opened| unix_now().max(opened.clock() + 1));
    if let Some(opened) = &mut opened {
        opened.restore(&mut bus, Now { mono: clock, unix: unix_now() });
    }
    let bus = SharedBus::new(bus, clock);
    let store = opened.map(|opened| opened.start(&bus));
    let store = store.transpose().map_err(|e| format!("no thread to keep history with: {e}"))?.map(Arc::new);
    let metrics = Metrics::new(&bus, store.clone());
    let access = Access::new(address, TokenFile::in_directory(&config.state_dir));
    let (fanout, tasks) = (Fanout::new(), TaskTracker::new());
    let places = Places::new(access.knows_own());
    for shard in fanout.tasks(&bus, &stop) {
        tasks.spawn(shard);
    }
    let daemon = Arc::new(Daemon {
        access: Arc::new(access),
        refused_origins: RefusedOrigins::default(),
        store,
        bus,
        config: ArcSwap::from_pointee(config),
        log,
        address,
        metrics,
        fanout,
        places,
        stop,
        tasks,
    });
    let http = Http::new(daemon.clone());
    greet(&daemon);
    service::ready();

    tokio::spawn(service::watchdog(daemon.clone()));
    let accepting = [
        tokio::spawn(signals.serve(daemon.clone())),
        tokio::spawn(tick(daemon.clone())),
        tokio::spawn(http.clone().accept(tcp)),
        tokio::spawn(ipc::accept(local, daemon.clone(), http)),
    ];
    for task in accepting {
        if let Err(error) = task.await {
            warn!(%error, "a part of the daemon has failed");
            daemon.begin_to_stop();
        }
    }
    service::stopping();
    daemon.tasks.close();
    if tokio::time::timeout(DRAIN, daemon.tasks.wait()).await.is_err() {
        warn!(connections = daemon.tasks.len(), "cut what had not ended in {} s", DRAIN.as_secs());
    }
    if let Some(store) = &daemon.store {
        store.end();
    }
    info!("stopped");
    Ok(())
}

/// What was accepted, if it could be. Where that fails, for want of descriptors, this waits a moment: nothing is served
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

/// Has the bus tick. Where nobody subscribes the daemon sleeps: nobody waits for a heartbeat then, and whoever publishes
/// lets go what is too old. What is left for want of events goes after a while.
async fn tick(daemon: Arc<Daemon>) {
    const ASLEEP: Duration = Duration::from_mins(5);
    loop {
        let pause = async {
            if daemon.bus.with(|bus, _| bus.has_subscribers()) {
                tokio::time::sleep(TICK).await;
            } else {
                let _ = tokio::time::timeout(ASLEEP, daemon.bus.woken()).await;
            }
        };
        if daemon.or_stop(pause).await.is_none() {
            return;
        }
        daemon.bus.with(Bus::tick);
        while daemon.bus.with(Bus::catch_up) {
            tokio::task::yield_now().await;
        }
        let over = daemon.access.ended();
        if !over.is_empty() {
            daemon.bus.with(|bus, now| over.into_iter().filter(|client| bus.disconnect(*client, now)).count());
        }
    }
}

/// Connections that wait to be accepted, when many come back in one instant. The kernel has the last word.
pub(crate) const BACKLOG: u32 = 4096;

/// Listens for browsers.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // On Windows this would let another process take the port over; elsewhere it only skips a wait after a restart.
    socket.set_reuseaddr(cfg!(unix))?;
    bound(&SockRef::from(&socket))?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens on a socket that a service manager holds, and goes on holding. Who comes while the daemon is away waits in its
/// queue, so that a short one is made longer.
fn serve_held(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    bound(&SockRef::from(&socket))?;
    SockRef::from(&socket).listen(BACKLOG.cast_signed())?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Bounds what the kernel holds for peers that do not read. Accepted sockets inherit it.
fn bound(socket: &SockRef<'_>) -> io::Result<()> {
    /// Bytes of events for each. More would only be memory pinned by peers that do not read: what does not fit waits in
    /// the feed, once for all.
    const HELD: usize = 64 << 10;
    // A bound of what is not sent lets the buffers of those that do read grow.
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(HELD as u32)?;
    // Nothing is congested within a machine, and where BBR is the system's choice it would pace each connection with
    // timers: without, a replay is 5 to 25 % faster. Every kernel has Reno; if it cannot be had nothing is lost.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_congestion(b"reno");
    #[cfg(not(target_os = "linux"))]
    socket.set_send_buffer_size(HELD)?;
    Ok(())
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
    let (address, config) = (daemon.address, daemon.config());
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
