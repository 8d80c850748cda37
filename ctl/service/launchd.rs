//! A launch agent of macOS. launchd holds both sockets while the daemon is away, and starts it again whenever it ends.
//!
//! The keys are those of `launchd.plist(5)`, the commands those of `launchctl(1)`. No Mac has run this yet.

use std::path::PathBuf;

use super::{
    Manager, Wanted, folders,
    plan::{File, Run, render, text_of, xml},
};
use crate::cli::ServiceLogs;

const AGENT: &str = include_str!("../../packaging/launchd/io.github.sse-bus.plist");
const LABEL: &str = "io.github.sse-bus";
/// The lines for an address of the other family.
const IPV4: &str = "<string>IPv4</string>";

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
        let listen = wanted.listen.unwrap_or_else(|| ([127, 0, 0, 1], 7733).into());
        let family = if listen.is_ipv4() { IPV4 } else { "<string>IPv6</string>" };
        let values = [
            ("/usr/local/bin/sse-busd", xml(text_of(&wanted.daemon)?)),
            ("<string>127.0.0.1</string>", format!("<string>{}</string>", listen.ip())),
            ("<string>7733</string>", format!("<string>{}</string>", listen.port())),
            (IPV4, family.into()),
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
