//! Whether a daemon answers at the local socket, and whether the place of the socket is this user's own.

use std::io;

use sse_bus::{Client, Endpoint, client, endpoint::SOCKET_VARIABLE, protocol::Status};
use tokio::time::timeout;

use super::{Finding, PATIENCE, quoted};

/// Where the daemon is looked for.
pub(super) struct Place {
    pub(super) endpoint: Endpoint,
    /// What says so.
    rule: &'static str,
    /// What `sse-busd` has to be told so that it serves there: a flag, or nothing.
    flag: String,
}

/// What there is at the place.
pub(super) enum Daemon {
    Answers(Box<Status>),
    /// Something serves the socket, but nothing that helps.
    IsNoHelp,
    IsAway,
}

impl Place {
    /// The place that a flag or the variable names, or the usual one.
    pub(super) fn new(endpoint: Endpoint, is_named: bool) -> Place {
        let variable = std::env::var_os(SOCKET_VARIABLE);
        let is_variable = is_named && variable.is_some_and(|path| path == endpoint.path());
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
        let rule = match runtime {
            _ if is_variable => "as SSE_BUS_SOCKET says",
            _ if is_named => "as --socket says",
            _ if cfg!(windows) => "the pipe of this user",
            Some(runtime) if endpoint.path().starts_with(&runtime) => "in the runtime directory of this user",
            _ => "in the state directory of this user, as there is no runtime directory (XDG_RUNTIME_DIR is not set)",
        };
        let has_flag = is_named && !is_variable;
        let flag = if has_flag { format!(" --socket {}", quoted(&endpoint.to_string())) } else { String::new() };
        Place { endpoint, rule, flag }
    }

    /// The command that starts a daemon here.
    pub(super) fn start(&self) -> String {
        self.start_with("")
    }

    /// The same with more flags.
    pub(super) fn start_with(&self, flags: &str) -> String {
        format!("sse-busd{}{}{flags}", self.flag, if flags.is_empty() { "" } else { " " })
    }

    /// A connection to the daemon.
    pub(super) async fn connect(&self) -> Option<Client> {
        timeout(PATIENCE, Client::connect(&self.endpoint)).await.ok()?.ok()
    }

    pub(super) async fn ask(&self) -> (Daemon, Finding) {
        let Place { endpoint, rule, .. } = self;
        let asked = async { Client::connect(endpoint).await?.status().await };
        let error = match timeout(PATIENCE, asked).await {
            Ok(Ok(status)) => {
                let message = format!("sse-busd (process {}) answers at {endpoint}, {rule}", status.pid);
                return (Daemon::Answers(Box::new(status)), Finding::ok("daemon", message));
            }
            Ok(Err(client::Error::NoAnswer { .. })) | Err(_) => return (Daemon::IsNoHelp, self.silent().await),
            Ok(Err(error)) => error,
        };
        let problem = |message: String, mend: &str| Finding::problem("daemon", message, mend);
        match error {
            client::Error::NoDaemon { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    (Daemon::IsAway, problem(format!("no daemon is at {endpoint}, {rule}"), &self.start()))
                }
                _ => (
                    Daemon::IsAway,
                    problem(format!("{endpoint}, {rule}, cannot be connected to: {source}"), &self.start()),
                ),
            },
            client::Error::SocketRemoved { endpoint, daemon } => {
                let what = format!("{daemon} runs, but its socket {endpoint}, {rule}, was removed or moved away");
                (Daemon::IsNoHelp, problem(what, &format!("kill -HUP {}   # binds the socket again", daemon.pid)))
            }
            client::Error::Denied(why) => {
                let mend = "env -u SSE_BUS_SOCKET sse-busctl doctor";
                (Daemon::IsNoHelp, problem(format!("the daemon at {endpoint}, {rule}, is not for you: {why}"), mend))
            }
            error => {
                let mend = "which -a sse-busctl sse-busd";
                (Daemon::IsNoHelp, problem(format!("what serves {endpoint}, {rule}, gives no answer: {error}"), mend))
            }
        }
    }

    /// Something takes connections and says nothing.
    async fn silent(&self) -> Finding {
        let what = format!("{} is served, but there is no answer within {PATIENCE:?}", self.endpoint);
        match self.server().await {
            Some((pid, true)) => Finding::problem(
                "daemon",
                format!("{what}: process {pid} is stopped, as by Ctrl-Z"),
                format!("kill -CONT {pid}"),
            ),
            Some((pid, false)) => {
                Finding::problem("daemon", format!("{what}: process {pid} hangs"), format!("kill -KILL {pid}"))
            }
            None => Finding::problem("daemon", what, "ps -fC sse-busd"),
        }
    }

    /// The process that serves the socket, and whether it is stopped.
    #[cfg(unix)]
    async fn server(&self) -> Option<(i32, bool)> {
        let pid = timeout(PATIENCE, self.endpoint.connect()).await.ok()?.ok()?.peer_cred().ok()?.pid()?;
        // proc(5): the state is behind the name, which is in brackets and may hold others.
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        Some((pid, state.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))))
    }

    #[cfg(windows)]
    #[expect(clippy::unused_async, reason = "elsewhere the system is asked")]
    async fn server(&self) -> Option<(i32, bool)> {
        None
    }

    /// Whether others could put something else at the socket's place, and what is there while no daemon is.
    #[cfg(unix)]
    pub(super) async fn permissions(&self, daemon: &Daemon) -> Vec<Finding> {
        let path = self.endpoint.path();
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref());
        let guests = match daemon {
            Daemon::Answers(_) => self.guests().await,
            Daemon::IsNoHelp | Daemon::IsAway => unix::Guests::default(),
        };
        let mut findings = vec![
            unix::directory(directory, &self.start_with("--socket PATH")),
            unix::socket(path, daemon, &guests, &self.start()),
        ];
        findings.extend(unix::way(path, &guests));
        findings
    }

    /// Whom the daemon lets in besides its own user, by its own account.
    #[cfg(unix)]
    async fn guests(&self) -> unix::Guests {
        let asked = async { self.connect().await?.config().await.ok() };
        let settings = timeout(PATIENCE, asked).await.ok().flatten().unwrap_or_default();
        let numbers = |key: &str| -> Vec<u32> {
            let setting = settings.iter().find(|setting| setting.key == key);
            setting.and_then(|setting| serde_json::from_value(setting.value.clone()).ok()).unwrap_or_default()
        };
        unix::Guests { uids: numbers("allow_uid"), gids: numbers("allow_gid") }
    }

    /// A pipe has no directory, and lets in its user alone.
    #[cfg(windows)]
    #[expect(clippy::unused_async, clippy::unused_self, reason = "elsewhere there are files")]
    pub(super) async fn permissions(&self, _: &Daemon) -> Vec<Finding> {
        Vec::new()
    }
}

#[cfg(unix)]
mod unix {
    use std::{
        io,
        os::unix::fs::{FileTypeExt as _, MetadataExt as _},
        path::Path,
    };

    use rustix::process::geteuid;
    use sse_bus::private_fs;

    use super::{Daemon, Finding, quoted};

    /// As the daemon looks at it before it binds anything there.
    pub(super) fn directory(directory: &Path, elsewhere: &str) -> Finding {
        let shown = directory.display();
        let found = match directory.metadata() {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Finding::ok("directory", format!("{shown} is not there yet; the daemon makes it"));
            }
            Err(e) => return Finding::problem("directory", format!("{shown} cannot be looked at: {e}"), elsewhere),
        };
        let mode = found.mode() & 0o7777;
        if let Err(exposure) = private_fs::check_directory(directory) {
            let what = format!("no daemon starts in {shown} (mode {mode:04o}): {exposure}");
            return Finding::problem("directory", what, exposure.fix().unwrap_or_else(|| elsewhere.into()));
        }
        Finding::ok("directory", format!("only this user and root can put anything in {shown} (mode {mode:04o})"))
    }

    /// Users and groups that the daemon lets in besides its own user.
    #[derive(Default)]
    pub(super) struct Guests {
        pub(super) uids: Vec<u32>,
        pub(super) gids: Vec<u32>,
    }

    impl Guests {
        fn are_none(&self) -> bool {
            self.uids.is_empty() && self.gids.is_empty()
        }
    }

    /// Whether the users whom the daemon lets in reach its socket.
    pub(super) fn way(path: &Path, guests: &Guests) -> Option<Finding> {
        let closed = private_fs::closed_directories(path, &guests.uids, &guests.gids);
        let outermost = closed.last()?;
        let what = format!(
            "allow_uid and allow_gid have no effect: {} keeps those users away from {}",
            outermost.display(),
            path.display()
        );
        let words: Vec<_> = closed.iter().map(|closed| quoted(&closed.to_string_lossy()).into_owned()).collect();
        Some(Finding::warning("guests", what, format!("chmod o+x {}", words.join(" "))))
    }

    pub(super) fn socket(path: &Path, daemon: &Daemon, guests: &Guests, start: &str) -> Finding {
        let (shown, word) = (path.display(), path.to_string_lossy());
        let found = match path.symlink_metadata() {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Finding::ok("socket", format!("nothing is at {shown}; the daemon makes it"));
            }
            Err(e) => return Finding::problem("socket", format!("{shown} cannot be looked at: {e}"), start),
        };
        let (mode, owner) = (found.mode() & 0o777, found.uid());
        if !found.file_type().is_socket() {
            let what = format!("{shown} is no socket, and the daemon leaves it alone");
            return Finding::problem("socket", what, format!("mv {0} {0}.old", quoted(&word)));
        }
        if owner != geteuid().as_raw() && !matches!(daemon, Daemon::Answers(_)) {
            let what = format!("{shown} belongs to another user (uid {owner}), and the daemon leaves it alone");
            return Finding::problem("socket", what, "env -u SSE_BUS_SOCKET sse-busd");
        }
        if matches!(daemon, Daemon::IsAway) {
            let what = format!("{shown} is stale: left by a daemon that was killed. The next one takes it over");
            return Finding::warning("socket", what, start);
        }
        if mode & 0o077 != 0 && !guests.are_none() {
            let what = format!("others may connect to {shown} (mode {mode:04o}), as allow_uid and allow_gid say");
            return Finding::ok("socket", what);
        }
        if mode & 0o077 != 0 {
            let what = format!("others may connect to {shown} (mode {mode:04o}), and the daemon refuses them");
            return Finding::warning("socket", what, format!("chmod 600 {}", quoted(&word)));
        }
        Finding::ok("socket", format!("only this user can connect to {shown} (mode {mode:04o})"))
    }
}
