//! The local socket that is examined, and the daemon that serves it.

use std::io;

use sse_bus::{
    Client, Endpoint, client,
    endpoint::{PathSource, RUNTIME_VARIABLE, SOCKET_VARIABLE},
    protocol::Status,
    shell::quoted,
};
use tokio::time::timeout;

use super::{finding::Finding, program::PATIENCE};

/// The endpoint that is examined.
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    /// Why it is this endpoint.
    rule: PathSource,
    /// The option that makes `sse-busd` serve this endpoint, or nothing.
    option: String,
}

/// The state of the daemon at the endpoint.
pub(super) enum Daemon {
    Responds(Box<Status>),
    /// A process serves the socket, but it is not usable.
    IsUnusable,
    IsAbsent,
}

impl Target {
    /// Returns the endpoint that an option or the variable names, or the default one.
    pub(super) fn new(endpoint: Endpoint, is_given: bool) -> Target {
        let variable = std::env::var_os(SOCKET_VARIABLE);
        let is_variable = is_given && variable.is_some_and(|path| path == endpoint.path());
        let rule = if is_variable { PathSource::Variable } else { endpoint.source() };
        let has_option = is_given && !is_variable;
        let option = if has_option { format!(" --socket {}", quoted(&endpoint.to_string())) } else { String::new() };
        Target { endpoint, rule, option }
    }

    /// Returns the command that starts a daemon at this endpoint.
    pub(super) fn start(&self) -> String {
        self.start_with("")
    }

    /// Returns the command that starts a daemon at this endpoint, with more options.
    pub(super) fn start_with(&self, options: &str) -> String {
        format!("sse-busd{}{}{options}", self.option, if options.is_empty() { "" } else { " " })
    }

    /// Connects to the daemon.
    pub(super) async fn connect(&self) -> Option<Client> {
        timeout(PATIENCE, Client::connect(&self.endpoint)).await.ok()?.ok()
    }

    /// Checks that a daemon answers. From then on the target is the endpoint at which it was found.
    pub(super) async fn check(&mut self) -> (Daemon, Finding) {
        let status = async {
            let mut client = Client::connect(&self.endpoint).await?;
            if let Some(found) = client.endpoint().filter(|found| **found != self.endpoint) {
                (self.endpoint, self.rule) = (found.clone(), found.source());
            }
            client.status().await
        };
        let error = match timeout(PATIENCE, status).await {
            Ok(Ok(status)) => {
                let Target { endpoint, rule, .. } = self;
                let message = format!("sse-busd (process {}) answers at {endpoint}, {rule}", status.pid);
                return (Daemon::Responds(Box::new(status)), Finding::ok("daemon", message));
            }
            Ok(Err(client::Error::Unresponsive { .. })) | Err(_) => {
                return (Daemon::IsUnusable, self.unresponsive().await);
            }
            Ok(Err(error)) => error,
        };
        let Target { endpoint, rule, .. } = &*self;
        let problem = |message: String, fix: &str| Finding::problem("daemon", message, fix);
        match error {
            client::Error::NoDaemon { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    (Daemon::IsAbsent, problem(format!("no daemon at {endpoint}, {rule}"), &self.start()))
                }
                _ => (
                    Daemon::IsAbsent,
                    problem(format!("cannot connect to {endpoint}, {rule}: {source}"), &self.start()),
                ),
            },
            client::Error::SocketRemoved { endpoint, daemon } => {
                let message = format!("{daemon} runs, but its socket {endpoint}, {rule}, was removed or renamed");
                (Daemon::IsUnusable, problem(message, &format!("kill -HUP {}   # binds the socket again", daemon.pid)))
            }
            client::Error::SocketMounted { endpoint } => {
                let directory = endpoint.path().parent().unwrap_or(endpoint.path()).display().to_string();
                let message = format!("the daemon of {endpoint}, {rule}, has replaced the file that is mounted there");
                let fix = format!("# mount the directory {} of the socket, not its file", quoted(&directory));
                (Daemon::IsUnusable, problem(message, &fix))
            }
            client::Error::Denied(reason) => {
                let message = format!("the daemon at {endpoint}, {rule}, denies access: {reason}");
                let variable = if endpoint.runtime_error().is_some() { RUNTIME_VARIABLE } else { SOCKET_VARIABLE };
                (Daemon::IsUnusable, problem(message, &format!("env -u {variable} sse-busctl doctor")))
            }
            error => {
                let message = format!("invalid reply at {endpoint}, {rule}: {error}");
                (Daemon::IsUnusable, problem(message, "which -a sse-busctl sse-busd"))
            }
        }
    }

    /// Returns the finding for a process that accepts connections but does not answer.
    async fn unresponsive(&self) -> Finding {
        let message = format!("no reply at {} within {PATIENCE:?}", self.endpoint);
        match self.server().await {
            Some((pid, true)) => Finding::problem(
                "daemon",
                format!("{message}: process {pid} is stopped, for example by Ctrl-Z"),
                format!("kill -CONT {pid}"),
            ),
            Some((pid, false)) => {
                Finding::problem("daemon", format!("{message}: process {pid} hangs"), format!("kill -KILL {pid}"))
            }
            None => Finding::problem("daemon", message, "ps -fC sse-busd"),
        }
    }

    /// Returns the process that serves the socket, and whether it is stopped.
    #[cfg(unix)]
    async fn server(&self) -> Option<(i32, bool)> {
        let pid = timeout(PATIENCE, self.endpoint.connect()).await.ok()?.ok()?.peer_cred().ok()?.pid()?;
        // proc(5): the state follows the name, which is in parentheses and may contain parentheses.
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        Some((pid, state.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))))
    }

    #[cfg(windows)]
    #[expect(clippy::unused_async, reason = "on Unix the socket is queried")]
    async fn server(&self) -> Option<(i32, bool)> {
        None
    }
}
