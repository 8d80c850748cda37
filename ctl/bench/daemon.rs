//! The daemon that the benchmark measures: a separate one with the default configuration, in a directory of its own.
//!
//! The events of a benchmark would otherwise reach the subscribers of the user's bus, evict its history and count among its
//! events. The daemon and its directory are removed at the end, also after a signal.

use std::{process::Stdio, time::Duration};

use sse_bus::{Client, Endpoint, protocol::Status};
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{
    daemon_program,
    exit::{Exit, Failure},
};

/// How long the daemon may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_millis(10);
/// Variables by which a service manager passes sockets and its own address to the daemon.
const MANAGER: [&str; 5] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC"];

/// How long a daemon on NATS may take to end, and to remove its streams.
const ENDS_WITHIN: Duration = Duration::from_secs(15);
/// The settings of the connection to NATS that are not the benchmark's own.
const NATS: [&str; 7] = ["CREDENTIALS", "NKEY", "USER", "PASSWORD_FILE", "TLS", "TLS_CA", "REPLICAS"];

/// A running daemon. Ended when dropped, and its directory removed.
pub(super) struct MeasuredDaemon {
    child: Child,
    /// It ends, and removes its streams, when this is closed.
    is_on_nats: bool,
    _directory: TempDir,
}

impl MeasuredDaemon {
    /// Starts a daemon, with its log in memory or on a NATS server, and returns it with a connection to it and its status.
    pub(super) async fn start(nats: Option<&str>) -> Result<(MeasuredDaemon, Client, Status), Failure> {
        let program = daemon_program::path();
        let failed = |what: String| Failure::new(Exit::Failed, format!("cannot start {}: {what}", program.display()));
        let directory =
            tempfile::Builder::new().prefix("sse-bus-bench-").tempdir().map_err(|e| failed(e.to_string()))?;
        let socket = if cfg!(windows) {
            format!(r"\\.\pipe\sse-bus-bench-{}", std::process::id()).into()
        } else {
            directory.path().join("bus.sock")
        };
        let mut command = Command::new(&program);
        let is_setting = |name: &str| match name.strip_prefix("SSE_BUS_NATS_") {
            Some(rest) => nats.is_none() || !NATS.contains(&rest),
            None => name.starts_with("SSE_BUS_") || MANAGER.contains(&name),
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command.args(["--no-config", "--listen", "127.0.0.1:0", "--log", "error", "--socket"]).arg(&socket);
        command.arg("--state-dir").arg(directory.path());
        if let Some(server) = nats {
            // No other bus has this name.
            let bus = format!("bench-{}-{:x}", std::process::id(), fastrand::u32(..));
            command.args([
                "--history",
                "nats",
                "--nats",
                server,
                "--nats-bus",
                &bus,
                "--nats-create",
                "--nats-temporary",
            ]);
        }
        command.stdin(if nats.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(nats.is_none());
        let child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let mut daemon = MeasuredDaemon { child, is_on_nats: nats.is_some(), _directory: directory };
        let endpoint = Endpoint::at(socket);
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The socket is there before everything else is.
            let connected = async {
                let mut client = Client::connect(&endpoint).await?;
                let status = client.status().await?;
                Ok::<_, sse_bus::client::Error>((client, status))
            };
            let error = match connected.await {
                Ok((client, status)) => return Ok((daemon, client, status)),
                Err(error) => error,
            };
            if let Some(status) = daemon.child.try_wait().map_err(|e| failed(e.to_string()))? {
                return Err(failed(daemon.error().await.unwrap_or_else(|| status.to_string())));
            }
            if Instant::now() > deadline {
                return Err(failed(error.to_string()));
            }
            sleep(RETRY).await;
        }
    }

    /// Ends the daemon, and waits until it has ended.
    pub(super) async fn end(mut self) {
        if self.is_on_nats {
            drop(self.child.stdin.take());
            if timeout(ENDS_WITHIN, self.child.wait()).await.is_ok() {
                return;
            }
        }
        let _ = self.child.kill().await;
    }

    /// Returns the error message of a daemon that has ended.
    async fn error(&mut self) -> Option<String> {
        let mut error = String::new();
        self.child.stderr.take()?.read_to_string(&mut error).await.ok()?;
        let error = error.lines().next()?.trim_start_matches("sse-busd: ");
        Some(error.to_owned())
    }
}
