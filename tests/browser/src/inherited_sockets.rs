//! Sockets that outlive the daemon, as a service manager holds them: no connection is refused while it is down.

use std::{
    io,
    net::TcpListener,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::net::UnixListener,
    },
    path::Path,
    process::{Child, Command},
};

use rustix::io::{FdFlags, fcntl_setfd};

/// A port and a local socket.
pub(crate) struct InheritedSockets {
    pub(crate) http: TcpListener,
    ipc: UnixListener,
}

impl InheritedSockets {
    pub(crate) fn bind(socket: &Path) -> io::Result<InheritedSockets> {
        Ok(InheritedSockets { http: TcpListener::bind("127.0.0.1:0")?, ipc: UnixListener::bind(socket)? })
    }

    /// A command that starts a daemon with them as its descriptors 3 and 4, according to `sd_listen_fds(3)`.
    pub(crate) fn given_to(&self, daemon: &Command) -> Command {
        let [http, ipc] = self.descriptors().map(|socket| socket.as_raw_fd());
        let script =
            format!("exec 3<&{http} 4<&{ipc}; export LISTEN_FDS=2 LISTEN_FDNAMES=http:ipc LISTEN_PID=$$; exec \"$@\"");
        let mut shell = Command::new("bash");
        shell.args(["-c", &script, "bash"]).arg(daemon.get_program()).args(daemon.get_args());
        shell
    }

    /// Starts such a command. No other process of the test inherits the sockets.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let set = |flags| self.descriptors().into_iter().try_for_each(|socket| fcntl_setfd(socket, flags));
        set(FdFlags::empty())?;
        let child = command.spawn();
        set(FdFlags::CLOEXEC)?;
        child
    }

    fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.http.as_fd(), self.ipc.as_fd()]
    }
}
