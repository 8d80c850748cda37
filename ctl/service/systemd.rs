//! User units of systemd: one for the daemon, and one for each socket, which systemd holds while the daemon is away.
//!
//! `FileDescriptorName=` is one for all sockets of a unit, so that the two sockets are two units. A unit that the system
//! has already with the same text, from a package, is used and not written again.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    Manager, Wanted, folders,
    plan::{File, Run, render, text_of},
};
use crate::{cli::ServiceLogs, listen::Listen};

const SERVICE: &str = include_str!("../../packaging/systemd/sse-bus.service");
const HTTP: &str = include_str!("../../packaging/systemd/sse-bus-http.socket");
const IPC: &str = include_str!("../../packaging/systemd/sse-bus-ipc.socket");

/// The sockets first: the daemon is given what is held.
const UNITS: [&str; 3] = ["sse-bus-http.socket", "sse-bus-ipc.socket", "sse-bus.service"];
/// Where `systemctl --user enable` notes what is to be started, below the folder of units.
const ENABLED: [&str; 3] = [
    "sockets.target.wants/sse-bus-http.socket",
    "sockets.target.wants/sse-bus-ipc.socket",
    "default.target.wants/sse-bus.service",
];
/// The lines that say where the port is.
const LISTEN: &str = "ListenStream=127.0.0.1:7733\nListenStream=[::1]:7733\n";
/// The lines that need a user namespace.
const NAMESPACE: &str = "PrivateUsers=yes\nCapabilityBoundingSet=\n";

pub(super) struct Systemd;

impl Manager for Systemd {
    fn files(&self, wanted: &Wanted) -> Result<Vec<File>, String> {
        let folder = folders()?.config_dir().join("systemd/user");
        let line = |address: SocketAddr| format!("ListenStream={address}\n");
        let listen = match &wanted.listen[..] {
            [] => LISTEN.to_owned(),
            list => Listen::all(list).into_iter().map(line).collect(),
        };
        let socket = match &wanted.socket {
            Some(socket) if Some(socket.as_path()) != usual_socket().as_deref() => text_of(socket)?.replace('%', "%%"),
            _ => "%t/sse-bus/bus.sock".into(),
        };
        let namespace = if wanted.other_users { "" } else { NAMESPACE };
        let service = [("/usr/bin/sse-busd", program(&wanted.daemon)?), (NAMESPACE, namespace.into())];
        let files = [
            (UNITS[0], render(HTTP, &[(LISTEN, listen)])),
            (UNITS[1], render(IPC, &[("%t/sse-bus/bus.sock", socket)])),
            (UNITS[2], render(SERVICE, &service)),
        ];
        Ok(files.into_iter().map(|(name, text)| File::new(folder.join(name), text)).collect())
    }

    fn shared(&self) -> &'static [&'static str] {
        &["/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user"]
    }

    fn notes(&self) -> &'static [&'static str] {
        &ENABLED
    }

    fn probe(&self) -> Option<Run> {
        Some(systemctl(&["show", "--property=Version"]))
    }

    fn holds(&self) -> Option<Run> {
        Some(systemctl(&["--quiet", "is-active", UNITS[1]]))
    }

    fn install(&self, _: &Wanted, changed: bool) -> Result<Vec<Run>, String> {
        // A socket that is held is not held elsewhere before it was let go.
        let stop = changed.then(|| units("stop"));
        Ok([systemctl(&["daemon-reload"])].into_iter().chain(stop).chain([units("enable --now")]).collect())
    }

    fn uninstall(&self, _: &Wanted) -> Result<Vec<Run>, String> {
        Ok(vec![units("disable --now")])
    }

    fn removed(&self) -> Vec<Run> {
        vec![systemctl(&["daemon-reload"])]
    }

    fn start(&self, _: &Wanted) -> Result<Vec<Run>, String> {
        Ok(vec![units("start")])
    }

    fn stop(&self, _: &Wanted) -> Result<Vec<Run>, String> {
        // All in one: a socket alone would start the daemon again for the next who comes.
        Ok(vec![units("stop")])
    }

    fn restart(&self) -> Vec<Run> {
        vec![systemctl(&["restart", UNITS[2]])]
    }

    fn status(&self) -> Run {
        systemctl(&["--no-pager", "status", UNITS[2]])
    }

    fn logs(&self, _: &Wanted, logs: &ServiceLogs) -> Result<Run, String> {
        // Not `--user --unit`: that looks into a journal of the user's own, which not every system keeps.
        let lines = format!("--lines={}", logs.lines);
        let follow = if logs.follow { "--follow" } else { "--no-pager" };
        Ok(Run::new("journalctl", ["--user-unit=sse-bus.service", &lines, follow]))
    }
}

fn systemctl(args: &[&str]) -> Run {
    Run::new("systemctl --user", args.iter().copied())
}

fn units(verb: &str) -> Run {
    Run::new(&format!("systemctl --user {verb}"), UNITS)
}

/// Where the socket is if nothing else is said: systemd's `%t`.
fn usual_socket() -> Option<PathBuf> {
    Some(directories::BaseDirs::new()?.runtime_dir()?.join("sse-bus/bus.sock"))
}

/// A program for `ExecStart=`: `%` is a specifier's beginning there, and what has spaces needs quotes.
fn program(path: &Path) -> Result<String, String> {
    let text = text_of(path)?.replace('%', "%%");
    let plain = |c: char| c.is_alphanumeric() || "-_./%+@:".contains(c);
    if text.chars().all(plain) {
        return Ok(text);
    }
    Ok(format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_odd_characters_is_written_as_systemd_reads_it() {
        let written = |path: &str| program(Path::new(path)).unwrap();
        assert_eq!(written("/usr/bin/sse-busd"), "/usr/bin/sse-busd");
        assert_eq!(written("/opt/100% \"mine\"/sse-busd"), r#""/opt/100%% \"mine\"/sse-busd""#);
        assert!(program(Path::new("/a\nExecStart=/b")).is_err());
    }
}
