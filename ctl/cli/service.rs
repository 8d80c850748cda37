//! The command line of `sse-busctl service`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, builder::BoolishValueParser};

use crate::{exit, listen::Listen};

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl service install --print
  sse-busctl service install
  sse-busctl service logs --follow
  sse-busctl service uninstall --purge"))]
pub(crate) struct Service {
    /// The service manager; another than this system's only with --print [default: this system's]
    #[arg(long, global = true, value_enum, value_name = "NAME", env = "SSE_BUS_SERVICE_MANAGER", hide_env = true)]
    pub(crate) manager: Option<Manager>,
    /// Print the files that would be written, with their paths, and the commands that would be run, and do nothing
    #[arg(long, global = true, env = "SSE_BUS_SERVICE_PRINT", hide_env = true, value_parser = BoolishValueParser::new())]
    pub(crate) print: bool,
    #[command(subcommand)]
    pub(crate) command: ServiceDo,
}

/// The service managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Manager {
    /// User units of systemd
    Systemd,
    /// A launch agent of macOS
    Launchd,
    /// A task of Windows' Task Scheduler
    Windows,
}

impl Manager {
    /// That of this system.
    pub(crate) const HERE: Manager = if cfg!(windows) {
        Manager::Windows
    } else if cfg!(target_os = "macos") {
        Manager::Launchd
    } else {
        Manager::Systemd
    };
}

/// What to do with the service.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceDo {
    /// Have the bus run whenever you are logged in, and start it; again after the configuration's listen or socket changed
    Install(ServiceInstall),
    /// Stop the bus and remove what install has written; history and tokens stay
    Uninstall {
        /// Also remove history and tokens
        #[arg(long, env = "SSE_BUS_SERVICE_UNINSTALL_PURGE", hide_env = true, value_parser = BoolishValueParser::new())]
        purge: bool,
    },
    /// Start the installed service
    Start,
    /// Stop it, until the next log-in or `start`
    Stop,
    /// Restart the daemon; whoever is connected waits meanwhile, and goes on
    Restart,
    /// Say what the service manager knows; the exit code is 3 if it does not run
    Status,
    /// Print what the daemon has logged
    Logs(ServiceLogs),
}

#[derive(Debug, Args)]
pub(crate) struct ServiceInstall {
    /// The daemon to run [default: the sse-busd beside this program]
    #[arg(long, value_name = "PATH", env = "SSE_BUS_SERVICE_INSTALL_DAEMON", hide_env = true)]
    pub(crate) daemon: Option<PathBuf>,
    /// Address and port for browsers, or localhost:PORT; may be repeated [default: as configured]
    #[arg(long, value_name = "ADDR", env = "SSE_BUS_SERVICE_INSTALL_LISTEN", hide_env = true, value_delimiter = ',')]
    pub(crate) listen: Vec<Listen>,
    /// Write the files only
    #[arg(long, env = "SSE_BUS_SERVICE_INSTALL_NO_START", hide_env = true, value_parser = BoolishValueParser::new())]
    pub(crate) no_start: bool,
    /// Overwrite files of the same names that were not written by this command
    #[arg(long, env = "SSE_BUS_SERVICE_INSTALL_FORCE", hide_env = true, value_parser = BoolishValueParser::new())]
    pub(crate) force: bool,
    /// With systemd: run the daemon outside a user namespace, which allow_uid and allow_gid need
    #[arg(long, env = "SSE_BUS_SERVICE_INSTALL_OTHER_USERS", hide_env = true, value_parser = BoolishValueParser::new())]
    pub(crate) other_users: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServiceLogs {
    /// Go on with what comes
    #[arg(long, short, env = "SSE_BUS_SERVICE_LOGS_FOLLOW", hide_env = true, value_parser = BoolishValueParser::new())]
    pub(crate) follow: bool,
    /// Begin with the last so many lines
    #[arg(
        long,
        short = 'n',
        value_name = "N",
        default_value_t = 100,
        env = "SSE_BUS_SERVICE_LOGS_LINES",
        hide_env = true
    )]
    pub(crate) lines: u32,
}
