//! The command line of `sse-busctl service`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, builder::BoolishValueParser};
use sse_bus::listen::Listen;

use super::format::Format;
use crate::exit;

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl service install --print
  sse-busctl service install
  sse-busctl service logs --follow
  sse-busctl service uninstall --purge"))]
pub(crate) struct Service {
    /// The service manager; one of another system only with --print [default: that of this system]
    #[arg(long, global = true, value_enum, value_name = "NAME", env = "SSE_BUS_SERVICE_MANAGER")]
    pub(crate) manager: Option<Manager>,
    /// Only print the files that would be written, with their paths, and the commands that would be run
    #[arg(long, global = true, env = "SSE_BUS_SERVICE_PRINT", value_parser = BoolishValueParser::new())]
    pub(crate) print: bool,
    #[command(subcommand)]
    pub(crate) action: ServiceAction,
}

/// The service managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Manager {
    /// systemd, with user units
    Systemd,
    /// launchd of macOS, with a launch agent
    Launchd,
    /// Task Scheduler of Windows
    Windows,
}

impl Manager {
    /// The service manager of this system.
    pub(crate) const HERE: Manager = if cfg!(windows) {
        Manager::Windows
    } else if cfg!(target_os = "macos") {
        Manager::Launchd
    } else {
        Manager::Systemd
    };
}

/// The command of `sse-busctl service`.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceAction {
    /// Start the bus now and at every login; run it again after `listen` or `socket` has changed in the configuration
    Install(ServiceInstall),
    /// Stop the bus and remove the files of `install`; history and tokens are kept
    Uninstall {
        /// Also remove history and tokens
        #[arg(long, env = "SSE_BUS_SERVICE_UNINSTALL_PURGE", value_parser = BoolishValueParser::new())]
        purge: bool,
    },
    /// Start the installed service
    Start,
    /// Stop the service until the next login or `start`
    Stop,
    /// Restart the daemon; clients reconnect and resume
    Restart,
    /// Show the status from the service manager; the exit code is 3 if the service does not run
    Status,
    /// Print the log of the daemon
    Logs(ServiceLogs),
}

#[derive(Debug, Args)]
pub(crate) struct ServiceInstall {
    /// The daemon to run [default: sse-busd in the directory of this program]
    #[arg(long, value_name = "PATH", env = "SSE_BUS_SERVICE_INSTALL_DAEMON")]
    pub(crate) daemon: Option<PathBuf>,
    /// Address and port for browsers, or localhost:PORT; can be repeated [default: as configured]
    #[arg(long, value_name = "ADDR", env = "SSE_BUS_SERVICE_INSTALL_LISTEN", value_delimiter = ',')]
    pub(crate) listen: Vec<Listen>,
    /// Only write the files
    #[arg(long, env = "SSE_BUS_SERVICE_INSTALL_NO_START", value_parser = BoolishValueParser::new())]
    pub(crate) no_start: bool,
    /// Overwrite files of the same name that this command did not write
    #[arg(long, env = "SSE_BUS_SERVICE_INSTALL_FORCE", value_parser = BoolishValueParser::new())]
    pub(crate) force: bool,
    /// With systemd: run the daemon outside a user namespace, as allow_uid and allow_gid require
    #[arg(long, env = "SSE_BUS_SERVICE_INSTALL_OTHER_USERS", value_parser = BoolishValueParser::new())]
    pub(crate) other_users: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServiceLogs {
    /// Also print new lines as they are logged
    #[arg(long, short, env = "SSE_BUS_SERVICE_LOGS_FOLLOW", value_parser = BoolishValueParser::new())]
    pub(crate) follow: bool,
    /// Start with the last N lines
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100, env = "SSE_BUS_SERVICE_LOGS_LINES")]
    pub(crate) lines: u32,
    /// The log is printed as it is. Without a short name, because `-f` is that of --follow here.
    #[arg(long, hide = true, value_enum, env = "SSE_BUS_SERVICE_LOGS_FORMAT")]
    pub(crate) format: Option<Format>,
}
