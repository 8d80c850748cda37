//! A launch agent of macOS. launchd holds both sockets while the daemon is away, and starts it again whenever it ends.
//!
//! The keys are those of `launchd.plist(5)`, the commands those of `launchctl(1)`. No Mac has run this yet.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use super::{
    Manager, Wanted, folders,
    plan::{File, Run, render, text_of, xml},
};
use crate::{cli::ServiceLogs, listen::Listen};

const AGENT: &str = include_str!("../../packaging/launchd/io.github.sse-bus.plist");
const LABEL: &str = "io.github.sse-bus";
/// The addresses that stand in the file as it is.
const USUAL: [SocketAddr; 2] =
    [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7733), SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 7733)];

pub(super) struct Launchd;

impl Launchd {
    fn plist() -> Result<PathBuf, String> {
        Ok(folders()?.home_dir().join("Library/LaunchAgents").join(format!("{LABEL}.plist")))
    }

    fn socket(wanted: &Wanted) -> Result<PathBuf, String> {
        match &wanted.socket {
            Some(socket) => Ok(socket.clone()),
            None => Ok(folders()?.home_dir().join("Library/Application Support/sse-bus/bus.sock")),
        }
    }

    fn log() -> Result<PathBuf, String> {
        Ok(folders()?.home_dir().join("Library/Logs/sse-bus.log"))
    }

    fn load() -> Result<Vec<Run>, String> {
        Ok(vec![Run::new("launchctl bootstrap", [domain(), text_of(&Launchd::plist()?)?.to_owned()])])
    }
}

impl Manager for Launchd {
    fn files(&self, wanted: &Wanted) -> Result<Vec<File>, String> {
        let usual = socket_entries(&USUAL);
        let sockets = match &wanted.listen[..] {
            [] => usual.clone(),
            list => socket_entries(&Listen::all(list)),
        };
        let values = [
            ("/usr/local/bin/sse-busd", xml(text_of(&wanted.daemon)?)),
            (&usual, sockets),
            ("/Users/USER/Library/Application Support/sse-bus/bus.sock", xml(text_of(&Launchd::socket(wanted)?)?)),
            ("/Users/USER/Library/Logs/sse-bus.log", xml(text_of(&Launchd::log()?)?)),
        ];
        Ok(vec![File::new(Launchd::plist()?, render(AGENT, &values))])
    }

    fn probe(&self) -> Option<Run> {
        Some(Run::new("launchctl print", [domain()]))
    }

    fn holds(&self) -> Option<Run> {
        Some(Run::new("launchctl print", [service()]))
    }

    fn install(&self, wanted: &Wanted, changed: bool) -> Result<Vec<Run>, String> {
        // launchd makes the socket, but not the directory.
        let socket = Launchd::socket(wanted)?;
        let directory = socket.parent().map(text_of).transpose()?.unwrap_or(".");
        let mut commands = vec![Run::new("mkdir -p -m 700", [directory])];
        if changed {
            commands.extend(self.stop(wanted)?);
        }
        commands.push(Run::new("launchctl enable", [service()]));
        commands.extend(Launchd::load()?);
        Ok(commands)
    }

    fn uninstall(&self, wanted: &Wanted) -> Result<Vec<Run>, String> {
        self.stop(wanted)
    }

    fn start(&self, _: &Wanted) -> Result<Vec<Run>, String> {
        Launchd::load()
    }

    fn stop(&self, _: &Wanted) -> Result<Vec<Run>, String> {
        // An agent that is only killed is started again.
        Ok(vec![Run::new("launchctl bootout", [service()])])
    }

    fn restart(&self) -> Vec<Run> {
        vec![Run::new("launchctl kickstart -k", [service()])]
    }

    fn status(&self) -> Run {
        Run::new("launchctl print", [service()])
    }

    fn logs(&self, _: &Wanted, logs: &ServiceLogs) -> Result<Run, String> {
        let log = text_of(&Launchd::log()?)?.to_owned();
        let lines = logs.lines.to_string();
        Ok(if logs.follow { Run::new("tail -F -n", [lines, log]) } else { Run::new("tail -n", [lines, log]) })
    }

    fn logged(&self, _: &Wanted) -> Option<PathBuf> {
        Launchd::log().ok()
    }
}

/// The lines for the sockets of the port. Each has a name of its own, as the daemon asks for them: `http`, `http-2`.
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

/// Where the agents of a user who is logged in at the screen are.
fn domain() -> String {
    #[cfg(unix)]
    let user = rustix::process::getuid().as_raw();
    // The first user of a Mac, to print something that reads right.
    #[cfg(windows)]
    let user = 501;
    format!("gui/{user}")
}

fn service() -> String {
    format!("{}/{LABEL}", domain())
}
