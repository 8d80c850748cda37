//! `sse-busctl service`: the bus as a service of the user, with systemd, launchd or the Task Scheduler of Windows.
//!
//! Each [manager](manager::Manager) returns its files and commands, which are printed, or written and run. Only files
//! with the mark of `install` are overwritten and removed, so that files of the user are kept. The files contain the
//! addresses and the socket from the configuration at the time of `install`; after a change of `listen` or `socket` it
//! must be run again.

mod commands;
mod daemon;
mod error;
mod files;
mod install;
mod launchd;
mod manager;
mod plan;
mod systemd;
mod uninstall;
mod windows;

use std::path::PathBuf;

use sse_bus::Endpoint;

use self::{
    install::Installation,
    manager::{Manager, ServiceConfig},
};
use crate::{
    cli::{self, ServiceAction},
    exit::{Exit, Failure},
    output::Output,
};

/// Runs a command of `sse-busctl service`. `socket` is the one from the command line or the environment.
pub(crate) async fn run(
    endpoint: &Endpoint,
    socket: Option<PathBuf>,
    output: &Output,
    options: cli::Service,
) -> Result<(), Failure> {
    let cli::Service { manager, print, action } = options;
    let is_native = manager.is_none_or(|manager| manager == cli::Manager::HERE);
    if !is_native && !print {
        let message = "this system has another service manager; use --print to see the files and commands";
        return Err(Failure::new(Exit::Usage, message));
    }
    if !print {
        check_user()?;
    }
    let manager: &dyn Manager = match manager.unwrap_or(cli::Manager::HERE) {
        cli::Manager::Systemd => &systemd::Systemd,
        cli::Manager::Launchd => &launchd::Launchd,
        cli::Manager::Windows => &windows::Windows,
    };
    let config = ServiceConfig { daemon: daemon::path()?, socket, ..ServiceConfig::default() };
    let commands = match action {
        ServiceAction::Install(options) => {
            let installation = Installation { manager, output, is_native, print };
            return installation.run(endpoint, config, options).await;
        }
        ServiceAction::Uninstall { purge } => return uninstall::run(manager, output, &config, purge, print),
        ServiceAction::Start => manager.start(&config)?,
        ServiceAction::Stop => manager.stop(&config)?,
        ServiceAction::Restart => manager.restart(),
        ServiceAction::Status if !print => return commands::show_status(&manager.status()),
        ServiceAction::Status => vec![manager.status()],
        ServiceAction::Logs(ref options) => {
            let logs = manager.logs(&config, options)?;
            if !print {
                return commands::replace_process(&logs);
            }
            vec![logs]
        }
    };
    if print {
        return commands::print(output, &[], &commands);
    }
    if matches!(action, ServiceAction::Start) {
        commands::check_no_other_daemon(manager, endpoint).await?;
    }
    commands.iter().try_for_each(commands::perform)
}

/// Refuses `sudo`, with which the service would belong to root instead of the user.
#[cfg_attr(windows, expect(clippy::unnecessary_wraps, reason = "there is no sudo"))]
fn check_user() -> Result<(), Failure> {
    #[cfg(unix)]
    if rustix::process::geteuid().is_root() && std::env::var_os("SUDO_USER").is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "this would be a service of root; run the command without sudo, as your own user",
        ));
    }
    Ok(())
}
