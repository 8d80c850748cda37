//! `sse-busctl service`: the bus as a service of the user, under systemd, launchd or Windows' Task Scheduler.
//!
//! Each manager says which files it wants and which commands; here they are printed, or written and run. Only files that
//! carry the mark of `install` are overwritten and removed, so that what the user has put beside them stays. What is held
//! for the daemon is what the daemon made of its configuration when it was installed: with another `listen` or `socket`
//! it is installed again.

mod daemon;
mod files;
mod install;
mod launchd;
mod plan;
mod systemd;
mod uninstall;
mod windows;

use std::{path::PathBuf, process::Stdio, time::Duration};

use sse_bus::{Client, Endpoint};

use self::plan::{File, Run};
use crate::{
    cli::{self, ServiceDo, ServiceLogs},
    exit::{Exit, Failure},
    listen::Listen,
    output::Output,
};

/// How long whoever serves the socket has to say who it is.
const ANSWER: Duration = Duration::from_secs(2);

/// What the service is to be.
#[derive(Default)]
struct Wanted {
    daemon: PathBuf,
    /// Where browsers find it; the usual if empty.
    listen: Vec<Listen>,
    /// Where not the usual.
    socket: Option<PathBuf>,
    other_users: bool,
}

/// A service manager.
trait Manager {
    /// The files, as they should be.
    fn files(&self, wanted: &Wanted) -> Result<Vec<File>, String>;

    /// Folders where packages put such files for everybody.
    fn shared(&self) -> &'static [&'static str] {
        &[]
    }

    /// What the manager notes of its own beside the files.
    fn notes(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it holds the sockets while the daemon is away, so that their places stand in its files.
    fn holds_sockets(&self) -> bool {
        true
    }

    /// Succeeds if the manager can be reached.
    fn probe(&self) -> Option<Run> {
        None
    }

    /// Succeeds if the manager holds the sockets now.
    fn holds(&self) -> Option<Run> {
        None
    }

    /// What follows the files; `changed` if there were others before.
    fn install(&self, wanted: &Wanted, changed: bool) -> Result<Vec<Run>, String>;

    /// What precedes their end.
    fn uninstall(&self, wanted: &Wanted) -> Result<Vec<Run>, String>;

    /// What follows their end.
    fn removed(&self) -> Vec<Run> {
        Vec::new()
    }

    fn start(&self, wanted: &Wanted) -> Result<Vec<Run>, String>;
    fn stop(&self, wanted: &Wanted) -> Result<Vec<Run>, String>;
    fn restart(&self) -> Vec<Run>;
    fn status(&self) -> Run;
    fn logs(&self, wanted: &Wanted, logs: &ServiceLogs) -> Result<Run, String>;

    /// The file with the logs, if it is one of the service's own.
    fn logged(&self, _: &Wanted) -> Option<PathBuf> {
        None
    }
}

/// The user's folders.
fn folders() -> Result<directories::BaseDirs, String> {
    directories::BaseDirs::new().ok_or_else(|| "no home directory; set HOME".into())
}

/// Runs a command of `sse-busctl service`. `socket` is the one that was asked for by name.
pub(crate) async fn run(
    endpoint: &Endpoint,
    socket: Option<PathBuf>,
    output: &Output,
    options: cli::Service,
) -> Result<(), Failure> {
    let cli::Service { manager, print, command } = options;
    let here = manager.is_none_or(|manager| manager == cli::Manager::HERE);
    if !here && !print {
        return Err(Failure::new(
            Exit::Usage,
            "that is no service manager of this system; see what it gets with --print",
        ));
    }
    if !print {
        check_user()?;
    }
    let manager: &dyn Manager = match manager.unwrap_or(cli::Manager::HERE) {
        cli::Manager::Systemd => &systemd::Systemd,
        cli::Manager::Launchd => &launchd::Launchd,
        cli::Manager::Windows => &windows::Windows,
    };
    let wanted = Wanted { daemon: daemon::beside()?, socket, ..Wanted::default() };
    let commands = match command {
        ServiceDo::Install(options) => {
            return install::run(manager, endpoint, output, wanted, options, here, print).await;
        }
        ServiceDo::Uninstall { purge } => return uninstall::run(manager, output, &wanted, purge, print),
        ServiceDo::Start => manager.start(&wanted)?,
        ServiceDo::Stop => manager.stop(&wanted)?,
        ServiceDo::Restart => manager.restart(),
        ServiceDo::Status if !print => return status(&manager.status()),
        ServiceDo::Status => vec![manager.status()],
        ServiceDo::Logs(ref options) => {
            let logs = manager.logs(&wanted, options)?;
            if !print {
                return become_it(&logs);
            }
            vec![logs]
        }
    };
    if print {
        return show(output, &[], &commands);
    }
    if matches!(command, ServiceDo::Start) {
        nobody_else(manager, endpoint).await?;
    }
    commands.iter().try_for_each(perform)
}

/// A service is its user's. With `sudo` it would be root's, which is hardly what was meant.
#[cfg_attr(windows, expect(clippy::unnecessary_wraps, reason = "there is no sudo"))]
fn check_user() -> Result<(), Failure> {
    #[cfg(unix)]
    if rustix::process::geteuid().is_root() && std::env::var_os("SUDO_USER").is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "this would be a service of root; run it without sudo, as your own user",
        ));
    }
    Ok(())
}

/// A daemon that somebody has started by hand has the places that the manager would hold.
async fn nobody_else(manager: &dyn Manager, endpoint: &Endpoint) -> Result<(), Failure> {
    let Some(holds) = manager.holds() else { return Ok(()) };
    if succeeds(&holds) {
        return Ok(());
    }
    let ask = async { Client::connect(endpoint).await.ok()?.status().await.ok() };
    match tokio::time::timeout(ANSWER, ask).await {
        Ok(Some(status)) => Err(Failure::new(
            Exit::Failed,
            format!("a daemon runs already that is not the service (process {}); stop it first", status.pid),
        )),
        _ => Ok(()),
    }
}

/// Runs a command whose outcome is all that counts.
fn succeeds(run: &Run) -> bool {
    run.command().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Runs a command. What it says goes to stderr.
fn perform(run: &Run) -> Result<(), Failure> {
    let mut command = run.command();
    match command.stdin(Stdio::null()).stdout(std::io::stderr()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(Exit::Failed, format!("`{run}` has failed: {status}"))),
        Err(e) => Err(cannot_run(run, &e)),
    }
}

fn cannot_run(run: &Run, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("`{run}` cannot be run: {error}; is there that service manager?"))
}

/// Shows what the manager knows. Its own exit codes are not ours.
fn status(run: &Run) -> Result<(), Failure> {
    match run.command().stdin(Stdio::null()).status() {
        Ok(status) => match status.code() {
            Some(0) => Ok(()),
            Some(3) => Err(Failure::new(Exit::NoDaemon, "the service does not run; see `sse-busctl service start`")),
            _ => Err(Failure::new(
                Exit::NoDaemon,
                "the manager has no such service, or cannot be reached; see `sse-busctl service install`",
            )),
        },
        Err(e) => Err(cannot_run(run, &e)),
    }
}

/// Goes on as another program.
fn become_it(run: &Run) -> Result<(), Failure> {
    #[cfg(unix)]
    return Err(cannot_run(run, &std::os::unix::process::CommandExt::exec(&mut run.command())));
    #[cfg(windows)]
    match run.command().status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Failure::silent(Exit::Failed)),
        Err(e) => Err(cannot_run(run, &e)),
    }
}

/// Prints what would be written and run.
fn show(output: &Output, files: &[File], commands: &[Run]) -> Result<(), Failure> {
    let files = files.iter().map(|file| format!("# {}\n{}", file.path.display(), file.text));
    let commands = commands.iter().map(|run| format!("$ {run}")).collect::<Vec<_>>().join("\n");
    let parts: Vec<_> = files.chain([commands]).collect();
    output.line(&parts.join("\n"))?;
    Ok(())
}

/// Sentences of this module are failures of the command.
impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::new(Exit::Failed, message)
    }
}
