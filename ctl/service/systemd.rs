//! User units of systemd: one for the daemon, and one for each socket, on which systemd listens while the daemon does
//! not run.
//!
//! `FileDescriptorName=` applies to all sockets of a unit, so the two sockets need two units. A unit that a package has
//! installed with the same content is used instead of writing it again.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use sse_bus::listen::Listen;

use super::{
    error::ServiceError,
    manager::{Manager, ServiceConfig, user_directories},
    plan::{CommandLine, File, render, text_of},
};
use crate::cli::ServiceLogs;

const SERVICE: &str = include_str!("../../packaging/systemd/sse-bus.service");
const HTTP: &str = include_str!("../../packaging/systemd/sse-bus-http.socket");
const IPC: &str = include_str!("../../packaging/systemd/sse-bus-ipc.socket");

/// The sockets come first, because the daemon inherits them.
const UNITS: [&str; 3] = ["sse-bus-http.socket", "sse-bus-ipc.socket", "sse-bus.service"];
/// The links that `systemctl --user enable` creates in the directory of units.
const LINKS: [&str; 3] = [
    "sockets.target.wants/sse-bus-http.socket",
    "sockets.target.wants/sse-bus-ipc.socket",
    "default.target.wants/sse-bus.service",
];
/// The lines with the addresses of the port.
const LISTEN: &str = "ListenStream=127.0.0.1:7733\nListenStream=[::1]:7733\n";
/// The lines that require a user namespace.
const NAMESPACE: &str = "PrivateUsers=yes\nCapabilityBoundingSet=\n";

pub(super) struct Systemd;

impl Manager for Systemd {
    fn files(&self, config: &ServiceConfig) -> Result<Vec<File>, ServiceError> {
        let directory = user_directories()?.config_dir().join("systemd/user");
        let line = |address: SocketAddr| format!("ListenStream={address}\n");
        let listen = match &config.listen[..] {
            [] => LISTEN.to_owned(),
            list => Listen::all(list).into_iter().map(line).collect(),
        };
        let socket = match &config.socket {
            Some(socket) if Some(socket.as_path()) != default_socket().as_deref() => {
                text_of(socket)?.replace('%', "%%")
            }
            _ => "%t/sse-bus/bus.sock".into(),
        };
        let namespace = if config.other_users { "" } else { NAMESPACE };
        let service = [("/usr/bin/sse-busd", program(&config.daemon)?), (NAMESPACE, namespace.into())];
        let files = [
            (UNITS[0], render(HTTP, &[(LISTEN, listen)])),
            (UNITS[1], render(IPC, &[("%t/sse-bus/bus.sock", socket)])),
            (UNITS[2], render(SERVICE, &service)),
        ];
        Ok(files.into_iter().map(|(name, text)| File::new(directory.join(name), text)).collect())
    }

    fn package_directories(&self) -> &'static [&'static str] {
        &["/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user"]
    }

    fn links(&self) -> &'static [&'static str] {
        &LINKS
    }

    fn probe(&self) -> Option<CommandLine> {
        Some(systemctl(&["show", "--property=Version"]))
    }

    fn is_holding(&self) -> Option<CommandLine> {
        Some(systemctl(&["--quiet", "is-active", UNITS[1]]))
    }

    fn install(&self, _: &ServiceConfig, has_changed: bool) -> Result<Vec<CommandLine>, ServiceError> {
        // systemd uses a changed address only after the socket was stopped.
        let stop = has_changed.then(|| units("stop"));
        Ok([systemctl(&["daemon-reload"])].into_iter().chain(stop).chain([units("enable --now")]).collect())
    }

    fn uninstall(&self, _: &ServiceConfig) -> Result<Vec<CommandLine>, ServiceError> {
        Ok(vec![units("disable --now")])
    }

    fn after_removal(&self) -> Vec<CommandLine> {
        vec![systemctl(&["daemon-reload"])]
    }

    fn start(&self, _: &ServiceConfig) -> Result<Vec<CommandLine>, ServiceError> {
        Ok(vec![units("start")])
    }

    fn stop(&self, _: &ServiceConfig) -> Result<Vec<CommandLine>, ServiceError> {
        // All units together: a remaining socket would start the daemon again at the next connection.
        Ok(vec![units("stop")])
    }

    fn restart(&self) -> Vec<CommandLine> {
        vec![systemctl(&["restart", UNITS[2]])]
    }

    fn status(&self) -> CommandLine {
        systemctl(&["--no-pager", "status", UNITS[2]])
    }

    fn logs(&self, _: &ServiceConfig, logs: &ServiceLogs) -> Result<CommandLine, ServiceError> {
        // Not `--user --unit`, which reads a journal per user that some systems do not have.
        let lines = format!("--lines={}", logs.lines);
        let follow = if logs.follow { "--follow" } else { "--no-pager" };
        Ok(CommandLine::new("journalctl", ["--user-unit=sse-bus.service", &lines, follow]))
    }
}

fn systemctl(args: &[&str]) -> CommandLine {
    CommandLine::new("systemctl --user", args.iter().copied())
}

fn units(verb: &str) -> CommandLine {
    CommandLine::new(&format!("systemctl --user {verb}"), UNITS)
}

/// Returns the default path of the socket, in the directory that systemd calls `%t`.
fn default_socket() -> Option<PathBuf> {
    Some(directories::BaseDirs::new()?.runtime_dir()?.join("sse-bus/bus.sock"))
}

/// Returns a path for `ExecStart=`, with `%` escaped and in quotes if it contains spaces.
fn program(path: &Path) -> Result<String, ServiceError> {
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
    fn special_characters_of_a_path_are_escaped_for_systemd() {
        let written = |path: &str| program(Path::new(path)).unwrap();
        assert_eq!(written("/usr/bin/sse-busd"), "/usr/bin/sse-busd");
        assert_eq!(written("/opt/100% \"mine\"/sse-busd"), r#""/opt/100%% \"mine\"/sse-busd""#);
        assert!(program(Path::new("/a\nExecStart=/b")).is_err());
    }
}
