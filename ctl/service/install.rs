//! `sse-busctl service install`.

use std::{path::PathBuf, process::Stdio, time::Duration};

use serde::Serialize;
use sse_bus::{Client, Endpoint};
use tokio::time::{Instant, sleep};

use super::{
    Manager, Wanted, daemon,
    files::{self, Change},
    nobody_else, perform,
    plan::Run,
    show,
};
use crate::{
    cli::ServiceInstall,
    exit::{Exit, Failure},
    output::Output,
};

/// How long the daemon has to answer once it was started. With systemd it does already.
const START: Duration = Duration::from_secs(10);

/// Has the service be as it is wanted, whatever there was before. `here` if the manager is this system's.
pub(super) async fn run(
    manager: &dyn Manager,
    endpoint: &Endpoint,
    output: &Output,
    mut wanted: Wanted,
    options: ServiceInstall,
    here: bool,
    print: bool,
) -> Result<(), Failure> {
    let ServiceInstall { daemon, listen, no_start, force, other_users } = options;
    wanted.other_users = other_users;
    if let Some(daemon) = daemon {
        // As it was named for another system; here it must not depend on where we are.
        wanted.daemon = if here { std::path::absolute(&daemon).unwrap_or(daemon) } else { daemon };
    }
    wanted.listen = listen.clone();
    let mut endpoint = endpoint.clone();
    if here {
        match daemon::check(&wanted.daemon, &listen, wanted.socket.as_deref()) {
            Ok(mut checked) => {
                // The manager begins paths elsewhere, if it takes such at all.
                checked.socket = checked.socket.map(|socket| std::path::absolute(&socket).unwrap_or(socket));
                endpoint = checked.socket.clone().map_or(endpoint, Endpoint::at);
                if manager.holds_sockets() {
                    (wanted.listen, wanted.socket) = (checked.listen, checked.socket);
                }
            }
            Err(why) if print => eprintln!("sse-busctl: the usual places are shown, because {why}"),
            Err(why) => return Err(why.into()),
        }
    }

    let files = manager.files(&wanted)?;
    if print {
        return show(output, &files, &if no_start { vec![] } else { manager.install(&wanted, false)? });
    }
    let changes = files::compare(&files, manager.shared(), force)?;
    let had_others = changes.iter().any(|change| matches!(change, Change::Updated | Change::Removed));
    if no_start {
        return files::change(output, &files, &changes);
    }
    if let Some(probe) = manager.probe() {
        reach(&probe)?;
    }
    nobody_else(manager, &endpoint).await?;
    files::change(output, &files, &changes)?;
    manager.install(&wanted, had_others)?.iter().try_for_each(perform)?;
    serves(&endpoint, output).await
}

/// Tries whether the manager can be reached, before anything is written.
fn reach(probe: &Run) -> Result<(), Failure> {
    let why = match probe.command().stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned(),
        Err(e) => e.to_string(),
    };
    let hint = if is_root() {
        "as a rule root has none: run this as your own user"
    } else {
        "log in as this user, and not by su or sudo"
    };
    let message = format!(
        "the service manager cannot be reached (`{probe}`: {why}); {hint}, or write the files only, \
        with --no-start"
    );
    Err(Failure::new(Exit::Failed, message))
}

fn is_root() -> bool {
    #[cfg(unix)]
    return rustix::process::geteuid().is_root();
    #[cfg(windows)]
    false
}

/// Says where the daemon serves, once it does.
async fn serves(endpoint: &Endpoint, output: &Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Serves {
        url: Option<String>,
        socket: PathBuf,
        pid: u32,
    }
    let deadline = Instant::now() + START;
    loop {
        let ask = async { Client::connect(endpoint).await?.status().await };
        match tokio::time::timeout_at(deadline, ask).await {
            Ok(Ok(status)) => {
                let url = status.url.clone().unwrap_or_else(|| "its local socket only".into());
                let serves = Serves { url: status.url, socket: status.socket.into(), pid: status.pid };
                output.say(|| format!("the bus serves {url}, and will whenever you are logged in"), &serves)?;
                return Ok(());
            }
            // Not every manager waits until it has started.
            Ok(Err(_)) if Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
            _ => {
                let message = "the service was started and does not answer; see `sse-busctl service logs`";
                return Err(Failure::new(Exit::Failed, message));
            }
        }
    }
}
