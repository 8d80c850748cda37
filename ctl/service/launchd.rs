//! A launch agent of macOS. launchd listens on both sockets while the daemon does not run, and restarts it whenever it
//! exits.
//!
//! The keys are documented in `launchd.plist(5)`, the commands in `launchctl(1)`. Not tested on a Mac yet.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use sse_bus::listen::Listen;

use super::{
    error::ServiceError,
    manager::{Manager, ServiceConfig, user_directories},
    plan::{CommandLine, File, render, text_of, xml},
};
use crate::cli::ServiceLogs;

const AGENT: &str = include_str!("../../packaging/launchd/io.github.sse-bus.plist");
const LABEL: &str = "io.github.sse-bus";
/// The addresses in the file in `packaging/`.
const DEFAULT: [SocketAddr; 2] =
    [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7733), SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 7733)];

pub(super) struct Launchd;

impl Launchd {
    fn plist() -> Result<PathBuf, ServiceError> {
        Ok(user_directories()?.home_dir().join("Library/LaunchAgents").join(format!("{LABEL}.plist")))
    }

    fn socket(config: &ServiceConfig) -> Result<PathBuf, ServiceError> {
        match &config.socket {
            Some(socket) => Ok(socket.clone()),
            None => Ok(user_directories()?.home_dir().join("Library/Application Support/sse-bus/bus.sock")),
        }
    }

    fn log() -> Result<PathBuf, ServiceError> {
        Ok(user_directories()?.home_dir().join("Library/Logs/sse-bus.log"))
    }

    fn load() -> Result<Vec<CommandLine>, ServiceError> {
        Ok(vec![CommandLine::new("launchctl bootstrap", [domain(), text_of(&Launchd::plist()?)?.to_owned()])])
    }
}

impl Manager for Launchd {
    fn files(&self, config: &ServiceConfig) -> Result<Vec<File>, ServiceError> {
        let default = socket_entries(&DEFAULT);
        let sockets = match &config.listen[..] {
            [] => default.clone(),
            list => socket_entries(&Listen::all(list)),
        };
        let values = [
            ("/usr/local/bin/sse-busd", xml(text_of(&config.daemon)?)),
            (&default, sockets),
            ("/Users/USER/Library/Application Support/sse-bus/bus.sock", xml(text_of(&Launchd::socket(config)?)?)),
            ("/Users/USER/Library/Logs/sse-bus.log", xml(text_of(&Launchd::log()?)?)),
        ];
        Ok(vec![File::new(Launchd::plist()?, render(AGENT, &values))])
    }

    fn probe(&self) -> Option<CommandLine> {
        Some(CommandLine::new("launchctl print", [domain()]))
    }

    fn is_holding(&self) -> Option<CommandLine> {
        Some(CommandLine::new("launchctl print", [service()]))
    }

    fn install(&self, config: &ServiceConfig, has_changed: bool) -> Result<Vec<CommandLine>, ServiceError> {
        // launchd creates the socket, but not its directory.
        let socket = Launchd::socket(config)?;
        let directory = socket.parent().map(text_of).transpose()?.unwrap_or(".");
        let mut commands = vec![CommandLine::new("mkdir -p -m 700", [directory])];
        if has_changed {
            commands.extend(self.stop(config)?);
        }
        commands.push(CommandLine::new("launchctl enable", [service()]));
        commands.extend(Launchd::load()?);
        Ok(commands)
    }

    fn uninstall(&self, config: &ServiceConfig) -> Result<Vec<CommandLine>, ServiceError> {
        self.stop(config)
    }

    fn start(&self, _: &ServiceConfig) -> Result<Vec<CommandLine>, ServiceError> {
        Launchd::load()
    }

    fn stop(&self, _: &ServiceConfig) -> Result<Vec<CommandLine>, ServiceError> {
        // launchd would restart an agent that is only killed.
        Ok(vec![CommandLine::new("launchctl bootout", [service()])])
    }

    fn restart(&self) -> Vec<CommandLine> {
        vec![CommandLine::new("launchctl kickstart -k", [service()])]
    }

    fn status(&self) -> CommandLine {
        CommandLine::new("launchctl print", [service()])
    }

    fn logs(&self, _: &ServiceConfig, logs: &ServiceLogs) -> Result<CommandLine, ServiceError> {
        let log = text_of(&Launchd::log()?)?.to_owned();
        let lines = logs.lines.to_string();
        Ok(if logs.follow {
            CommandLine::new("tail -F -n", [lines, log])
        } else {
            CommandLine::new("tail -n", [lines, log])
        })
    }

    fn log_file(&self, _: &ServiceConfig) -> Option<PathBuf> {
        Launchd::log().ok()
    }
}

/// Returns the entries of the sockets of the port. Each has its own name, by which the daemon requests it: `http`,
/// `http-2`.
fn socket_entries(addresses: &[SocketAddr]) -> String {
    let entry = |(index, address): (usize, &SocketAddr)| {
        let name = if index == 0 { "http".to_owned() } else { format!("http-{}", index + 1) };
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let (ip, port) = (address.ip(), address.port());
        let pairs =
            [("SockNodeName", ip.to_string()), ("SockServiceName", port.to_string()), ("SockFamily", family.into())];
        let pairs = pairs.map(|(key, value)| format!("\t\t\t<key>{key}</key>\n\t\t\t<string>{value}</string>\n"));
        format!("\t\t<key>{name}</key>\n\t\t<dict>\n{}\t\t</dict>\n", pairs.concat())
    };
    addresses.iter().enumerate().map(entry).collect()
}

/// Returns the domain of the agents of a user with a graphical session.
fn domain() -> String {
    #[cfg(unix)]
    let user = rustix::process::getuid().as_raw();
    // The first user of a Mac, for readable output of --print.
    #[cfg(windows)]
    let user = 501;
    format!("gui/{user}")
}

fn service() -> String {
    format!("{}/{LABEL}", domain())
}
