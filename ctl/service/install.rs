//! `sse-busctl service install`: writes the files of the service and starts it.

use std::{path::PathBuf, process::Stdio, time::Duration};

use serde::Serialize;
use sse_bus::{Client, Endpoint};
use tokio::time::{Instant, sleep};

use super::{
    commands, daemon,
    files::{self, Change},
    manager::{Manager, ServiceConfig},
    plan::CommandLine,
};
use crate::{
    cli::ServiceInstall,
    exit::{Exit, Failure},
    output::Output,
};

/// How long to wait until the started daemon answers. With systemd it does so already.
const PATIENCE: Duration = Duration::from_secs(10);

/// An installation in progress.
pub(super) struct Installation<'a> {
    pub(super) manager: &'a dyn Manager,
    pub(super) output: &'a Output,
    /// The manager is the one of this system.
    pub(super) is_native: bool,
    /// Only print the files and commands.
    pub(super) print: bool,
}

impl Installation<'_> {
    /// Installs the service, or updates an installed one.
    pub(super) async fn run(
        self,
        endpoint: &Endpoint,
        mut config: ServiceConfig,
        options: ServiceInstall,
    ) -> Result<(), Failure> {
        let Installation { manager, output, is_native, print } = self;
        let ServiceInstall { daemon, listen, no_start, force, other_users } = options;
        config.other_users = other_users;
        if let Some(daemon) = daemon {
            // Absolute on this system; unchanged for another system, whose paths may differ.
            config.daemon = if is_native { std::path::absolute(&daemon).unwrap_or(daemon) } else { daemon };
        }
        config.listen = listen.clone();
        let mut endpoint = endpoint.clone();
        if is_native {
            match daemon::check(&config.daemon, &listen, config.socket.as_deref()) {
                Ok(mut checked) => {
                    // Managers have another working directory, or require absolute paths.
                    checked.socket = checked.socket.map(|socket| std::path::absolute(&socket).unwrap_or(socket));
                    endpoint = checked.socket.clone().map_or(endpoint, Endpoint::at);
                    if manager.holds_sockets() {
                        (config.listen, config.socket) = (checked.listen, checked.socket);
                    }
                }
                Err(error) if print => eprintln!("sse-busctl: using the default addresses and paths: {error}"),
                Err(error) => return Err(error.into()),
            }
        }

        let files = manager.files(&config)?;
        if print {
            let commands = if no_start { vec![] } else { manager.install(&config, false)? };
            return commands::print(output, &files, &commands);
        }
        let changes = files::compare(&files, manager.package_directories(), force)?;
        let has_changed = changes.iter().any(|change| matches!(change, Change::Updated | Change::Removed));
        if no_start {
            return files::apply(output, &files, &changes);
        }
        if let Some(probe) = manager.probe() {
            check_reachable(&probe)?;
        }
        commands::check_no_other_daemon(manager, &endpoint).await?;
        files::apply(output, &files, &changes)?;
        manager.install(&config, has_changed)?.iter().try_for_each(commands::perform)?;
        wait_for_daemon(&endpoint, output).await
    }
}

/// Fails if the manager cannot be reached, before any file is written.
fn check_reachable(probe: &CommandLine) -> Result<(), Failure> {
    let reason = match probe.command().stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned(),
        Err(e) => e.to_string(),
    };
    let hint = if is_root() {
        "root usually has none: run the command as your own user"
    } else {
        "log in as this user instead of using su or sudo"
    };
    let message = format!(
        "the service manager cannot be reached (`{probe}`: {reason}); {hint}, or only write the files with --no-start"
    );
    Err(Failure::new(Exit::Failed, message))
}

fn is_root() -> bool {
    #[cfg(unix)]
    return rustix::process::geteuid().is_root();
    #[cfg(windows)]
    false
}

/// Waits until the daemon answers, and prints its URL.
async fn wait_for_daemon(endpoint: &Endpoint, output: &Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Started {
        url: Option<String>,
        socket: PathBuf,
        pid: u32,
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = async { Client::connect(endpoint).await?.status().await };
        match tokio::time::timeout_at(deadline, status).await {
            Ok(Ok(status)) => {
                let url = status.url.clone().unwrap_or_else(|| "only its local socket".into());
                let started = Started { url: status.url, socket: status.socket.into(), pid: status.pid };
                output.print(|| format!("the bus serves {url}, now and whenever you are logged in"), &started)?;
                return Ok(());
            }
            // Some managers do not wait until the daemon has started.
            Ok(Err(_)) if Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
            _ => {
                let message = "the service was started, but the daemon does not answer; see `sse-busctl service logs`";
                return Err(Failure::new(Exit::Failed, message));
            }
        }
    }
}
