//! Checks the files of the local socket: that only this user can replace the socket, and that allowed users can reach
//! it.

use super::{
    finding::Finding,
    target::{Daemon, Target},
};

/// A named pipe has no directory, and only its user can connect to it.
#[cfg(windows)]
#[expect(clippy::unused_async, reason = "on Unix the daemon is queried")]
pub(super) async fn check(_: &Target, _: &Daemon) -> Vec<Finding> {
    Vec::new()
}

#[cfg(unix)]
pub(super) use unix::check;

#[cfg(unix)]
mod unix {
    use std::{
        io,
        os::unix::fs::{FileTypeExt as _, MetadataExt as _},
        path::Path,
    };

    use rustix::process::geteuid;
    use sse_bus::{private_fs, shell::quoted};
    use tokio::time::timeout;

    use super::{Daemon, Finding, Target};
    use crate::doctor::program::PATIENCE;

    pub(crate) async fn check(target: &Target, daemon: &Daemon) -> Vec<Finding> {
        let path = target.endpoint.path();
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref());
        let allowed = match daemon {
            Daemon::Responds(_) => AllowList::query(target).await,
            Daemon::IsUnusable | Daemon::IsAbsent => AllowList::default(),
        };
        let mut findings = vec![check_directory(directory), check_socket(path, daemon, &allowed, &target.start())];
        findings.extend(check_access(path, &allowed));
        findings
    }

    /// Users and groups that the daemon allows besides its own user.
    #[derive(Default)]
    struct AllowList {
        uids: Vec<u32>,
        gids: Vec<u32>,
    }

    impl AllowList {
        /// Returns the list from the configuration of the daemon.
        async fn query(target: &Target) -> AllowList {
            let config = async { target.connect().await?.config().await.ok() };
            let settings = timeout(PATIENCE, config).await.ok().flatten().unwrap_or_default();
            let numbers = |key: &str| -> Vec<u32> {
                let setting = settings.iter().find(|setting| setting.key == key);
                setting.and_then(|setting| serde_json::from_value(setting.value.clone()).ok()).unwrap_or_default()
            };
            AllowList { uids: numbers("allow_uid"), gids: numbers("allow_gid") }
        }

        fn is_empty(&self) -> bool {
            self.uids.is_empty() && self.gids.is_empty()
        }
    }

    /// Checks the directory in the same way as the daemon does before it binds the socket.
    fn check_directory(directory: &Path) -> Finding {
        let shown = directory.display();
        let look = || format!("ls -ld {}", quoted(&directory.to_string_lossy()));
        let metadata = match directory.metadata() {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Finding::ok("directory", format!("{shown} does not exist yet; the daemon creates it"));
            }
            Err(e) => return Finding::problem("directory", format!("cannot examine {shown}: {e}"), look()),
        };
        let mode = metadata.mode() & 0o7777;
        if let Err(exposure) = private_fs::check_directory(directory) {
            let message = format!("the daemon does not start with a socket in {shown} (mode {mode:04o}): {exposure}");
            return Finding::problem("directory", message, exposure.fix().unwrap_or_else(look));
        }
        Finding::ok("directory", format!("only this user and root can create files in {shown} (mode {mode:04o})"))
    }

    /// Checks that the allowed users can reach the socket.
    fn check_access(path: &Path, allowed: &AllowList) -> Option<Finding> {
        let closed = private_fs::closed_directories(path, &allowed.uids, &allowed.gids);
        let outermost = closed.last()?;
        let message = format!(
            "allow_uid and allow_gid have no effect: those users cannot reach {} because of the mode of {}",
            path.display(),
            outermost.display()
        );
        let words: Vec<_> = closed.iter().map(|closed| quoted(&closed.to_string_lossy()).into_owned()).collect();
        Some(Finding::warning("allowed_users", message, format!("chmod o+x {}", words.join(" "))))
    }

    fn check_socket(path: &Path, daemon: &Daemon, allowed: &AllowList, start: &str) -> Finding {
        let (shown, word) = (path.display(), path.to_string_lossy());
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Finding::ok("socket", format!("{shown} does not exist; the daemon creates it"));
            }
            Err(e) => return Finding::problem("socket", format!("cannot examine {shown}: {e}"), start),
        };
        let (mode, owner) = (metadata.mode() & 0o777, metadata.uid());
        if !metadata.file_type().is_socket() {
            let message = format!("{shown} is not a socket, and the daemon does not replace it");
            return Finding::problem("socket", message, format!("mv {0} {0}.old", quoted(&word)));
        }
        if owner != geteuid().as_raw() && !matches!(daemon, Daemon::Responds(_)) {
            let message = format!("{shown} belongs to another user (uid {owner}), and the daemon does not replace it");
            return Finding::problem("socket", message, "env -u SSE_BUS_SOCKET sse-busctl doctor");
        }
        if matches!(daemon, Daemon::IsAbsent) {
            let message = format!("{shown} is stale: its daemon was killed. The next daemon replaces it");
            return Finding::warning("socket", message, start);
        }
        if mode & 0o077 != 0 && !allowed.is_empty() {
            let message =
                format!("other users can connect to {shown} (mode {mode:04o}), as allow_uid and allow_gid require");
            return Finding::ok("socket", message);
        }
        if mode & 0o077 != 0 {
            let message = format!("other users can connect to {shown} (mode {mode:04o}), but the daemon refuses them");
            return Finding::warning("socket", message, format!("chmod 600 {}", quoted(&word)));
        }
        Finding::ok("socket", format!("only this user can connect to {shown} (mode {mode:04o})"))
    }
}
