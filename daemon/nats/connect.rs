//! Connecting to the servers, and the reasons why that fails.

use std::{
    error::Error as _,
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::{Client, ConnectError as ClientError, ConnectErrorKind, ConnectOptions, Event, jetstream};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    connection::{Events, Inner, Nats},
    names::Names,
};
use crate::config::nats::{Login, NatsConfig, read_secret};

/// The oldest version of the servers.
const MIN_VERSION: (i64, i64, i64) = (2, 11, 0);
/// How long a connection attempt may take, and a request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bounds of the pause before the next attempt to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Messages that may wait in the connection for one subscription. The server sends no more to the log until some are read.
const WAITING_MAX: usize = 64 << 10;

/// Why a node cannot use the servers. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("cannot read {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error(
        "the NATS servers {servers} refuse the credentials: {error}; check --nats-credentials, --nats-nkey or --nats-user"
    )]
    Login { servers: String, error: String },
    #[error(
        "cannot connect to the NATS servers {servers} with TLS: {error}; check --nats-tls, and --nats-tls-ca for a certificate of \
         your own authority"
    )]
    Tls { servers: String, error: String },
    #[error("cannot reach the NATS servers {servers}: {error}")]
    Unreachable { servers: String, error: String },
    #[error("the NATS server {server} has version {version}, and 2.11 or later is required")]
    TooOld { server: String, version: String },
}

impl Nats {
    /// Connects to one of the servers.
    ///
    /// # Errors
    ///
    /// A file cannot be read, no server can be reached, or it refuses the node.
    pub(crate) async fn connect(config: &NatsConfig) -> Result<Nats, ConnectError> {
        let events = Arc::new(Events::default());
        let node = config.node.clone().unwrap_or_else(default_name);
        let options = options(config, &events).await?.name(format!("sse-busd {node}"));
        let connecting = timeout(PATIENCE, options.connect(config.servers.as_slice())).await;
        let client = match connecting {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(explain(&error, config)),
            Err(_) => {
                let error = "no answer within 5 s".to_owned();
                return Err(ConnectError::Unreachable { servers: config.shown_servers(), error });
            }
        };
        let (major, minor, patch) = MIN_VERSION;
        if !client.is_server_compatible(major, minor, patch) {
            let info = client.server_info();
            return Err(ConnectError::TooOld { server: info.server_name, version: info.version });
        }
        let names = Names::new(&config.bus);
        let jetstream = context(client.clone());
        Ok(Nats(Arc::new(Inner { client, jetstream, names, node, config: config.clone(), events })))
    }
}

/// Acknowledgements are bounded by the publishers, each of which waits for its own.
fn context(client: Client) -> jetstream::Context {
    jetstream::context::ContextBuilder::new()
        .timeout(PATIENCE)
        .ack_timeout(PATIENCE)
        .max_ack_inflight(64 << 10)
        .backpressure_on_inflight(true)
        .build(client)
}

async fn options(config: &NatsConfig, events: &Arc<Events>) -> Result<ConnectOptions, ConnectError> {
    let secret = |path: &PathBuf| {
        let path = path.clone();
        async move {
            let read = tokio::task::spawn_blocking({
                let path = path.clone();
                move || read_secret(&path)
            });
            let read = read.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            read.map_err(|error| ConnectError::File { path, error })
        }
    };
    let options = ConnectOptions::new();
    let options = match &config.login {
        Login::None => options,
        Login::Credentials(path) => {
            let text = secret(path).await?;
            options.credentials(&text).map_err(|error| ConnectError::File { path: path.clone(), error })?
        }
        Login::Nkey(path) => options.nkey(secret(path).await?.trim().to_owned()),
        Login::Password { user, file } => {
            options.user_and_password(user.clone(), secret(file).await?.trim().to_owned())
        }
    };
    let options = match &config.tls_ca {
        Some(path) => {
            if let Err(error) = tokio::fs::metadata(path).await {
                return Err(ConnectError::File { path: path.clone(), error });
            }
            options.add_root_certificates(path.clone())
        }
        None => options,
    };
    let events = events.clone();
    Ok(options
        .require_tls(config.tls)
        .connection_timeout(PATIENCE)
        .request_timeout(Some(PATIENCE))
        .ping_interval(Duration::from_secs(5))
        .subscription_capacity(WAITING_MAX)
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| {
            PAUSE.1.min(PAUSE.0 * 2_u32.saturating_pow(attempts.saturating_sub(1).min(10) as u32))
        })
        .event_callback(move |event| {
            let events = events.clone();
            async move { note(&events, &event) }
        }))
}

/// Notes what the connection reports.
fn note(events: &Events, event: &Event) {
    match event {
        Event::Connected => {
            *events.error.lock() = None;
            events.connections.fetch_add(1, Ordering::Relaxed);
            info!("connected to NATS");
        }
        Event::Disconnected | Event::Closed => {
            events.error.lock().get_or_insert_with(|| "the NATS servers cannot be reached".into());
            warn!("the connection to NATS is lost");
        }
        Event::ServerError(_) | Event::ClientError(_) => *events.error.lock() = Some(event.to_string()),
        Event::LameDuckMode | Event::Draining | Event::SlowConsumer(_) => {}
    }
    // One task waits for the log, and each of the others only for a change that it has not seen.
    events.changed.notify_waiters();
}

fn explain(error: &ClientError, config: &NatsConfig) -> ConnectError {
    let servers = config.shown_servers();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    let is_about = |words: &[&str]| words.iter().any(|word| text.to_lowercase().contains(word));
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            ConnectError::Login { servers, error: text }
        }
        ConnectErrorKind::Tls => ConnectError::Tls { servers, error: text },
        _ if is_about(&["authorization", "nkey"]) => ConnectError::Login { servers, error: text },
        _ if is_about(&["tls", "certificate"]) || config.tls => ConnectError::Tls { servers, error: text },
        _ => ConnectError::Unreachable { servers, error: text },
    }
}

/// Returns the name of the host and four random characters.
fn default_name() -> String {
    let host = host_name();
    let host: String =
        host.chars().map(|c| c.to_ascii_lowercase()).filter(char::is_ascii_alphanumeric).take(32).collect();
    let host = if host.is_empty() { "node".to_owned() } else { host };
    format!("{host}-{}", random_check().as_str())
}

#[cfg(unix)]
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or_default().to_owned()
}

#[cfg(not(unix))]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

fn random_check() -> sse_bus::Check {
    sse_bus::Check::from_seed(fastrand::u32(..))
}
