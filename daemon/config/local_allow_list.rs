//! `allow_uid` and `allow_gid`: the users, besides the daemon's own, whose processes may use the local socket.

#[cfg(unix)]
use std::io;

#[cfg(unix)]
use sse_bus::Endpoint;
use sse_bus::user_namespace;

/// The other users whose processes may connect, on Unix: user IDs, and group IDs that a process has as its effective
/// group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LocalAllowList {
    uids: Vec<u32>,
    gids: Vec<u32>,
}

impl LocalAllowList {
    /// Returns the IDs that exist in the daemon's user namespace, and a warning for each key with IDs that do not.
    pub(crate) fn new(uids: &[u32], gids: &[u32]) -> (LocalAllowList, Vec<(&'static str, String)>) {
        let (uids, no_users) = user_namespace::split("/proc/self/uid_map", uids);
        let (gids, no_groups) = user_namespace::split("/proc/self/gid_map", gids);
        let absent = [("allow_uid", no_users), ("allow_gid", no_groups)];
        let absent = absent.into_iter().filter(|(_, numbers)| !numbers.is_empty());
        let warnings = absent.map(|(key, numbers)| {
            let numbers = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let what = format!(
                "{key} = {numbers} is ignored: the daemon is in a user namespace that does not have this ID; `sse-busctl \
                 service install --other-users` runs it outside"
            );
            (key, what)
        });
        (LocalAllowList { uids, gids }, warnings.collect())
    }

    /// Returns a warning if the directories of the socket keep these users out, with the command that lets them through.
    #[cfg(unix)]
    pub(crate) fn unreachable_warning(&self, endpoint: &Endpoint) -> Option<String> {
        use sse_bus::{private_fs, shell};
        let closed = private_fs::closed_directories(endpoint.path(), &self.uids, &self.gids);
        let outermost = closed.last()?;
        let words: Vec<_> = closed.iter().map(|closed| shell::quoted(&closed.to_string_lossy()).into_owned()).collect();
        Some(format!(
            "allow_uid and allow_gid have no effect: {} keeps those users away from {endpoint}; let them through with `chmod \
             o+x {}`, or choose a --socket in a directory that they may enter",
            outermost.display(),
            words.join(" ")
        ))
    }

    /// Returns true if a process may connect.
    #[cfg(unix)]
    pub(crate) fn allows(&self, uid: u32, gid: u32) -> bool {
        self.uids.contains(&uid) || self.gids.contains(&gid)
    }

    fn is_empty(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty()
    }

    /// Returns the mode for the directory of the socket, which the users on this list must be able to traverse.
    pub(crate) fn directory_mode(&self) -> u32 {
        if self.is_empty() { 0o700 } else { 0o711 }
    }

    /// Lets the users on this list connect to a bound socket, which is private until then whatever the umask.
    #[cfg(unix)]
    pub(crate) fn open(&self, endpoint: &Endpoint) -> io::Result<()> {
        use std::{fs, os::unix::fs::PermissionsExt as _};
        if self.is_empty() {
            return Ok(());
        }
        fs::set_permissions(endpoint.path(), fs::Permissions::from_mode(0o666))
    }
}
