//! The daemon's life: bind, accept, serve, drain.
//!
//! One token stops everything, and one deadline bounds the drain: no more events are accepted, streams end once they have
//! delivered what was accepted, responses in progress are finished, and connections that are left after [`DRAIN`] are cut.
//! Further signals have no effect meanwhile.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use sse_bus::{
    Epoch,
    bus::{Bus, Now, history::Memory},
    flags::HistoryKind,
    limits::{DRAIN, HOT_BYTES},
    time::unix_now,
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
    access::{Access, KeptOutClients, RefusedNames},
    clock::Machine,
    config::Config,
    connection_limits::ConnectionLimits,
    context::Daemon,
    fanout::Fanout,
    http::{self, Http},
    ipc,
    log::{self, EventLog, OpenError, Opened, Store},
    logging::Log,
    metrics::Metrics,
    net::{self, ListenError},
    service_manager::{self, Sockets},
    shared_bus::{BUSY_TICK, SharedBus},
    signals::Signals,
};

/// Why the daemon cannot start. The message names in one line what is not available, the process that holds it, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Socket(#[from] ipc::SocketError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    AlreadyRunning(ipc::Running),
    #[error(transparent)]
    History(#[from] OpenError),
    #[error("cannot start a thread for history: {0}")]
    Thread(io::Error),
    #[cfg(feature = "nats")]
    #[error(transparent)]
    Join(#[from] crate::join::JoinError),
}

/// Runs the daemon until it is stopped. `descriptors` is the number of file descriptors that the process may have.
pub(crate) async fn run(config: Config, sockets: Sockets, log: Log, descriptors: usize) -> Result<(), StartError> {
    let stop = CancellationToken::new();
    let signals = Signals::listen().map_err(StartError::Signals)?;
    // The local socket first: its error names a daemon that runs already.
    #[cfg(unix)]
    let local = ipc::Listener::new(sockets.ipc, &config.endpoint, &config.local_allow_list).await?;
    #[cfg(windows)]
    let local = ipc::Listener::bind(&config.endpoint, &config.local_allow_list).await?;
    #[cfg(unix)]
    if let Some(warning) = config.local_allow_list.unreachable_warning(&config.endpoint) {
        warn!("{warning}");
    }
    let (listeners, addresses) = match listen(sockets.http, &config) {
        Ok(listening) => listening,
        Err(error) => return Err(cannot_listen(error).await),
    };
    #[cfg(feature = "nats")]
    let node = match &config.nats {
        Some(nats) => Some(crate::join::Node::open(nats, &config).await?),
        None => None,
    };
    #[cfg(feature = "nats")]
    let window = node.as_ref().map(crate::join::Node::window);
    #[cfg(not(feature = "nats"))]
    let window = None;
    let (bus, store) = open_bus(&config, window)?;
    let metrics = Metrics::new(&bus, store.clone());
    let access = Access::new(&addresses, TokenFile::in_directory(&config.state_dir));
    let connections = ConnectionLimits::new(descriptors, access.identifies_own_user());
    let (fanout, tasks) = (Arc::new(Fanout::new()), TaskTracker::new());
    for shard in fanout.tasks(&bus, &stop) {
        tasks.spawn(shard);
    }
    #[cfg(feature = "nats")]
    let temporary = node.as_ref().and_then(crate::join::Node::temporary);
    let kept_out = Arc::new(KeptOutClients::default());
    let own_log = || EventLog::new(&bus, &config.retention, store.is_some());
    #[cfg(feature = "nats")]
    let (events, cluster, queue) = match node {
        Some(node) => {
            let scheme = if config.tls.is_some() { "https" } else { "http" };
            let url = format!("{scheme}://{}", addresses[0]);
            let (cluster, queue) = node.join(&bus, kept_out.clone(), url, &stop, &tasks).await?;
            let log = node.log.clone();
            let events = EventLog::on_nats(&bus, node.log);
            log.ready().await;
            (events, Some(cluster), Some(queue))
        }
        None => (own_log(), None, None),
    };
    #[cfg(not(feature = "nats"))]
    let (events, cluster) = (own_log(), None);
    let daemon = Arc::new(Daemon {
        access: Arc::new(access),
        refused_origins: RefusedNames::default(),
        kept_out,
        cluster,
        #[cfg(feature = "nats")]
        queue,
        refused_hosts: RefusedNames::default(),
        events,
        store,
        bus,
        config: ArcSwap::from_pointee(config),
        log,
        addresses,
        metrics,
        connections,
        check_socket: Notify::new(),
        stop,
        tasks,
    });
    if let Some(store) = daemon.store.clone() {
        let daemon = daemon.clone();
        tokio::spawn(async move { daemon.or_stop(store.believe_clock(&daemon.bus)).await });
    }
    let http = Http::new(daemon.clone(), fanout.clone());
    announce(&daemon);
    #[cfg(feature = "nats")]
    if temporary.is_some() {
        end_with_input(daemon.clone());
    }
    // Not waited for: a manager that does not read its socket blocks the notification.
    spawn_blocking(service_manager::ready);

    tokio::spawn(service_manager::watchdog(daemon.clone(), fanout));
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    tokio::spawn(crate::memory::return_freed());
    let accepting = listeners.into_iter().map(|listener| tokio::spawn(http::accept(http.clone(), listener)));
    let mut parts: Vec<_> = accepting.collect();
    parts.extend([
        tokio::spawn(signals.serve(daemon.clone())),
        tokio::spawn(tick(daemon.clone())),
        tokio::spawn(ipc::accept(local, daemon.clone(), http)),
    ]);
    end(&daemon, parts).await;
    #[cfg(feature = "nats")]
    if let Some(nats) = temporary {
        nats.remove_streams().await;
    }
    Ok(())
}

/// Stops the daemon when its standard input is closed.
#[cfg(feature = "nats")]
fn end_with_input(daemon: Arc<Daemon>) {
    // The thread ends with the process.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        daemon.begin_to_stop();
    });
}

/// Waits until the parts of the daemon have ended, and then for its connections.
async fn end(daemon: &Daemon, parts: Vec<JoinHandle<()>>) {
    for task in parts {
        if let Err(error) = task.await {
            warn!(%error, "a task of the daemon has failed");
            daemon.begin_to_stop();
        }
    }
    drain(daemon).await;
}

/// Returns the TCP sockets, inherited or bound here, and their addresses.
fn listen(
    inherited: Vec<std::net::TcpListener>,
    config: &Config,
) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), ListenError> {
    let listeners = if inherited.is_empty() {
        net::listen(&config.listen)?
    } else {
        inherited.into_iter().map(net::serve_inherited).collect::<io::Result<_>>().map_err(ListenError::Unusable)?
    };
    let addresses =
        listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>().map_err(ListenError::Unusable)?;
    Ok((listeners, addresses))
}

/// Returns the error for an address on which the daemon cannot listen, which names a daemon of this user that does.
async fn cannot_listen(error: ListenError) -> StartError {
    match &error {
        ListenError::InUse { address, .. } => {
            ipc::running_on_port(*address).await.map_or_else(|| error.into(), StartError::AlreadyRunning)
        }
        _ => error.into(),
    }
}

/// Creates the bus, with the history that an earlier daemon has left on disk, or with the window of a log elsewhere.
fn open_bus(config: &Config, window: Option<(Epoch, Memory)>) -> Result<(SharedBus, Option<Arc<Store>>), StartError> {
    if let Some((epoch, window)) = window {
        let bus = Bus::new(epoch, config.limits.clone(), Box::new(window));
        return Ok((SharedBus::new(bus, 1), None));
    }
    // Random, so that it differs from every earlier epoch of this user.
    let epoch = Epoch::from_seed(RandomState::new().hash_one(std::process::id()));
    let mut opened = match config.history {
        HistoryKind::Memory | HistoryKind::Nats => None,
        HistoryKind::Disk => Some(Opened::open(&config.state_dir, epoch)?),
    };
    let history = match opened {
        None => log::history(&config.retention),
        Some(_) => Memory::persistent(config.retention.clone(), HOT_BYTES),
    };
    let epoch = opened.as_ref().and_then(Opened::epoch).unwrap_or(epoch);
    let mut bus = Bus::new(epoch, config.limits.clone(), Box::new(history));
    let clock = opened.as_mut().map_or(1, |opened| opened.resume_clock(&Machine::now()));
    if let Some(opened) = &mut opened {
        opened.restore(&mut bus, Now { mono: clock, unix: unix_now() });
    }
    let bus = SharedBus::new(bus, clock);
    let store = opened.map(|opened| opened.start(&bus));
    let store = store.transpose().map_err(StartError::Thread)?.map(Arc::new);
    Ok((bus, store))
}

/// Makes the bus tick whenever it must, and does the other regular work: at most once a second, and as often while there are
/// subscribers. Without them the daemon sleeps until an event is too old or a timer of a consumer ends.
async fn tick(daemon: Arc<Daemon>) {
    let mut ending: Option<JoinHandle<()>> = None;
    let mut last_work: Option<Instant> = None;
    loop {
        if daemon.or_stop(daemon.bus.until_tick()).await.is_none() {
            return;
        }
        while daemon.bus.with(|bus, now| {
            bus.tick(now);
            bus.next_timeout().is_some_and(|at| at <= now.mono)
        }) {
            tokio::task::yield_now().await;
        }
        if last_work.is_some_and(|last| last.elapsed() < BUSY_TICK) {
            continue;
        }
        last_work = Some(Instant::now());
        daemon.check_socket.notify_one();
        daemon.log.report_suppressed();
        daemon.access.expire_tickets();
        // In a task of its own: the disk with the tokens may hang.
        if daemon.access.has_streams() && ending.as_ref().is_none_or(JoinHandle::is_finished) {
            ending = Some(tokio::spawn(end_streams(daemon.clone())));
        }
    }
}

/// Ends the streams whose token was revoked or has expired.
async fn end_streams(daemon: Arc<Daemon>) {
    for client in daemon.access.ended_streams().await {
        daemon.bus.with(|bus, now| bus.disconnect(client, now));
    }
}

/// Waits for the connections to end, cuts those that do not in time, and writes the last events to disk.
async fn drain(daemon: &Daemon) {
    let notified = spawn_blocking(service_manager::stopping);
    daemon.tasks.close();
    if tokio::time::timeout(DRAIN, daemon.tasks.wait()).await.is_err() {
        let seconds = DRAIN.as_secs();
        warn!(connections = daemon.tasks.len(), "cut the connections that had not ended within {seconds} s");
    }
    if let Some(store) = &daemon.store {
        store.end().await;
    }
    // The notification may still wait for a thread. A service manager that does not read must not delay the end for long.
    let _ = tokio::time::timeout(Duration::from_secs(1), notified).await;
    daemon.log.report_suppressed();
    info!("stopped");
}

/// Logs where the daemon listens; on a terminal, prints it first, with the commands to try next.
fn announce(daemon: &Daemon) {
    let (urls, config) = (daemon.urls(), daemon.config());
    let addresses: Vec<_> = daemon.addresses.iter().map(ToString::to_string).collect();
    let (http, endpoint) = (addresses.join(" "), config.endpoint.clone());
    let log = move || info!(version = env!("CARGO_PKG_VERSION"), %http, socket = %endpoint, "listening");
    if !io::stdout().is_terminal() {
        return log();
    }
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
    // In a thread of its own: a stopped terminal blocks the write.
    std::thread::spawn(move || {
        let _ = io::stdout().write_all(greeting.as_bytes());
        log();
    });
}
