//! The daemon's life: bind, accept, serve, drain.
//!
//! There is one token that stops everything, and one deadline for the drain: nothing more is published, streams end once
//! they have what was, answers under way are finished, and what is left after [`DRAIN`] is cut. Further signals meanwhile
//! change nothing: it is over soon.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use sse_bus::{
    Epoch,
    bus::{Bus, Now, TICK, history::Memory},
    limits::{DRAIN, WARM},
    protocol::Status,
    tokens::TokenFile,
};
use tokio::{
    net::TcpListener,
    sync::Notify,
    task::{JoinHandle, spawn_blocking},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    access::Access,
    cli::HistoryKind,
    clock::Machine,
    config::Config,
    descriptors::Places,
    fanout::Fanout,
    http::{Http, Refused, origin::Scheme},
    ipc,
    logging::Log,
    metrics::Metrics,
    service::{self, Sockets},
    shared::{SharedBus, unix_now},
    signals::Signals,
    store::{Opened, Store},
    tcp,
};

/// What every task of the daemon can reach.
pub(crate) struct Daemon {
    pub(crate) bus: SharedBus,
    /// As it was read last.
    config: ArcSwap<Config>,
    pub(crate) log: Log,
    /// Where browsers find it, at least one; the ports are the real ones.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) metrics: Metrics,
    pub(crate) fanout: Fanout,
    pub(crate) access: Arc<Access>,
    pub(crate) refused_origins: Refused,
    pub(crate) refused_hosts: Refused,
    /// Where history is kept, if not in memory only.
    pub(crate) store: Option<Arc<Store>>,
    /// A place for each connection.
    pub(crate) places: Places,
    /// Asks for a check that the path of the local socket leads to it.
    pub(crate) check_socket: Notify,
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

    /// Where browsers find it, without a slash at the end: its own origins, as browsers write them.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.addresses.iter().map(|address| format!("{}://{address}", self.scheme())).collect()
    }

    /// The first of them, to name one.
    pub(crate) fn url(&self) -> String {
        self.urls().swap_remove(0)
    }

    pub(crate) fn scheme(&self) -> Scheme {
        if self.config().tls.is_some() { Scheme::Https } else { Scheme::Http }
    }

    /// The daemon, described.
    pub(crate) fn status(&self) -> Status {
        let mut status = self.bus.look(|bus, _| bus.status());
        status.version = env!("CARGO_PKG_VERSION").into();
        status.pid = std::process::id();
        status.uptime_ms = self.bus.uptime();
        status.url = Some(self.url());
        status.socket = self.config().endpoint.to_string();
        status.state_dir = self.config().state_dir.display().to_string();
        status.refused_origins = self.refused_origins.origins();
        status.refused_hosts = self.refused_hosts.hosts();
        status.urls = self.urls();
        status.history_trouble = self.store.as_ref().and_then(|store| store.error()).map(|why| why.to_string());
        status
    }
}

/// Runs the daemon until it is told to stop. The process may have so many `descriptors`.
///
/// # Errors
///
/// Says in one line what could not be had, who has it, and what to do.
pub(crate) async fn run(config: Config, sockets: Sockets, log: Log, descriptors: usize) -> Result<(), String> {
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
    #[cfg(unix)]
    if let Some(warning) = config.guests.kept_out(&config.endpoint) {
        warn!("{warning}");
    }
    let unusable = |e: io::Error| format!("a TCP socket cannot be served: {e}");
    let listeners = match sockets.http {
        none if none.is_empty() => tcp::listen(&config.listen)?,
        held => held.into_iter().map(tcp::serve_held).collect::<io::Result<_>>().map_err(unusable)?,
    };
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>().map_err(unusable)?;

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
    let clock = opened.as_mut().map_or(1, |opened| opened.resume_clock(&Machine::now()));
    if let Some(opened) = &mut opened {
        opened.restore(&mut bus, Now { mono: clock, unix: unix_now() });
    }
    let bus = SharedBus::new(bus, clock);
    let store = opened.map(|opened| opened.start(&bus));
    let store = store.transpose().map_err(|e| format!("no thread to keep history with: {e}"))?.map(Arc::new);
    let metrics = Metrics::new(&bus, store.clone());
    let access = Access::new(&addresses, TokenFile::in_directory(&config.state_dir));
    let (fanout, tasks) = (Fanout::new(), TaskTracker::new());
    let places = Places::new(descriptors, access.knows_all_own());
    for shard in fanout.tasks(&bus, &stop) {
        tasks.spawn(shard);
    }
    let daemon = Arc::new(Daemon {
        access: Arc::new(access),
        refused_origins: Refused::default(),
        refused_hosts: Refused::default(),
        store,
        bus,
        config: ArcSwap::from_pointee(config),
        log,
        addresses,
        metrics,
        fanout,
        places,
        check_socket: Notify::new(),
        stop,
        tasks,
    });
    if let Some(store) = daemon.store.clone() {
        let daemon = daemon.clone();
        tokio::spawn(async move { daemon.or_stop(store.believe_clock(&daemon.bus)).await });
    }
    let http = Http::new(daemon.clone());
    greet(&daemon);
    // Not waited for: a manager that does not read its socket holds up a thread of its own kind.
    spawn_blocking(service::ready);

    tokio::spawn(service::watchdog(daemon.clone()));
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    tokio::spawn(crate::memory::return_at_rest());
    let accepting = listeners.into_iter().map(|listener| tokio::spawn(http.clone().accept(listener)));
    let mut parts: Vec<_> = accepting.collect();
    parts.extend([
        tokio::spawn(signals.serve(daemon.clone())),
        tokio::spawn(tick(daemon.clone())),
        tokio::spawn(ipc::accept(local, daemon.clone(), http)),
    ]);
    for task in parts {
        if let Err(error) = task.await {
            warn!(%error, "a part of the daemon has failed");
            daemon.begin_to_stop();
        }
    }
    spawn_blocking(service::stopping);
    daemon.tasks.close();
    if tokio::time::timeout(DRAIN, daemon.tasks.wait()).await.is_err() {
        warn!(connections = daemon.tasks.len(), "cut what had not ended in {} s", DRAIN.as_secs());
    }
    if let Some(store) = &daemon.store {
        store.end().await;
    }
    daemon.log.report_suppressed();
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
    let mut ending: Option<JoinHandle<()>> = None;
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
        daemon.check_socket.notify_one();
        daemon.bus.with(Bus::tick);
        while daemon.bus.with(Bus::catch_up) {
            tokio::task::yield_now().await;
        }
        daemon.log.report_suppressed();
        daemon.access.expire_tickets();
        // Not waited for: the disk that the tokens are on may hang.
        if daemon.access.has_streams() && ending.as_ref().is_none_or(JoinHandle::is_finished) {
            ending = Some(tokio::spawn(end_streams(daemon.clone())));
        }
    }
}

/// Ends the streams whose token was revoked or has expired.
async fn end_streams(daemon: Arc<Daemon>) {
    for client in daemon.access.ended().await {
        daemon.bus.with(|bus, now| bus.disconnect(client, now));
    }
}

/// Says where the daemon listens: to a person on a terminal with what to do next, and in the log.
fn greet(daemon: &Daemon) {
    let (urls, config) = (daemon.urls(), daemon.config());
    if io::stdout().is_terminal() {
        let socket = match &config.endpoint {
            usual if sse_bus::Endpoint::find().is_ok_and(|found| found == *usual) => String::new(),
            endpoint => format!(" --socket {endpoint}"),
        };
        let addresses: String = urls.iter().flat_map(|url| ["  ", url, "/   for browsers and curl\n"]).collect();
        let greeting = format!(
            "sse-busd {version} listens on\n\n{addresses}  {endpoint}   for programs of this user\n\nOpen the address in a \
             browser, then try\n\n  sse-busctl{socket} publish hello world\n  sse-busctl{socket} subscribe '**'\n  curl -N \
             {url}/events/hello\n\nCtrl-C stops it.\n",
            version = env!("CARGO_PKG_VERSION"),
            url = urls[0],
            endpoint = config.endpoint,
        );
        // Not here: the terminal may be stopped.
        std::thread::spawn(move || io::stdout().write_all(greeting.as_bytes()));
    }
    let addresses: Vec<_> = daemon.addresses.iter().map(ToString::to_string).collect();
    let http = addresses.join(" ");
    info!(version = env!("CARGO_PKG_VERSION"), %http, socket = %config.endpoint, "listening");
}
