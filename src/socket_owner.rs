//! Finds the process that listens on a socket, for error messages after a failed connect or bind.
//!
//! Linux lists sockets in `/proc/net` and the descriptors of a user's processes in `/proc/PID/fd` (proc(5)). A local
//! socket is listed with the path that it was bound to, even if that file was removed. On other systems nothing is
//! found.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// A process that holds a socket. Displayed as `nginx (pid 812)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The name of the process, with control characters escaped, because a process can choose any name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// Returns the process that listens on an address, if this user can examine that process.
pub fn of_port(address: SocketAddr) -> Option<Process> {
    #[cfg(target_os = "linux")]
    {
        linux::find(&linux::TCP, |line| linux::listens_on_port(line, address))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = address;
        None
    }
}

/// Returns the process that listens on a local socket bound to this path, if this user can examine that process.
pub fn of_local_socket(path: &Path) -> Option<Process> {
    #[cfg(target_os = "linux")]
    {
        linux::find(&[linux::UNIX], |line| linux::listens_on_path(line, path))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        None
    }
}

/// A daemon of this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Its process id.
    pub pid: u32,
    /// The paths of the local sockets on which it listens.
    pub sockets: Vec<PathBuf>,
}

/// Returns the daemons of this user that listen on any of these addresses, with their local sockets.
pub fn own_daemons(addresses: &[SocketAddr]) -> Vec<Daemon> {
    #[cfg(target_os = "linux")]
    {
        linux::own_daemons(addresses)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = addresses;
        Vec::new()
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        fs,
        net::{IpAddr, SocketAddr},
        os::unix::fs::MetadataExt as _,
        path::{Path, PathBuf},
    };

    use super::{Daemon, Process};

    pub(super) const TCP: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
    pub(super) const UNIX: &str = "/proc/net/unix";

    /// Returns the lines of a table. Socket paths need not be UTF-8.
    fn table(path: &str) -> String {
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }

    pub(super) fn own_daemons(addresses: &[SocketAddr]) -> Vec<Daemon> {
        /// The kernel returns a table in pieces: a socket that is closed meanwhile can hide another one.
        const TRIES: usize = 3;
        let is_whole = |daemons: &Vec<Daemon>| daemons.iter().any(|daemon| !daemon.sockets.is_empty());
        let mut attempts = (1..TRIES).map(|_| find_own_daemons(addresses));
        attempts.find(is_whole).unwrap_or_else(|| find_own_daemons(addresses))
    }

    fn find_own_daemons(addresses: &[SocketAddr]) -> Vec<Daemon> {
        let tables = TCP.map(table);
        let on_port = |line| addresses.iter().find_map(|address| listens_on_port(line, *address));
        let wanted: Vec<&str> = tables.iter().flat_map(|table| table.lines()).filter_map(on_port).collect();
        if wanted.is_empty() {
            return Vec::new();
        }
        let unix = table(UNIX);
        let own = rustix::process::geteuid().as_raw();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let daemons = processes.filter_map(|process| {
            let (pid, path) = (process.file_name().to_str()?.parse().ok()?, process.path());
            let is_own = path.metadata().ok()?.uid() == own;
            // A service manager holds the same sockets.
            let is_daemon = is_own && fs::read_to_string(path.join("comm")).ok()?.starts_with("sse-busd");
            let held = if is_daemon { sockets(&path) } else { return None };
            if !wanted.iter().any(|inode| held.iter().any(|held| held == inode)) {
                return None;
            }
            // A relative path, as it was bound, is one in the directory of the process.
            let directory = fs::read_link(path.join("cwd")).unwrap_or_default();
            let listeners = unix.lines().filter_map(listener);
            let own = listeners.filter(|(inode, _)| held.iter().any(|held| held == inode));
            Some(Daemon { pid, sockets: own.map(|(_, path)| directory.join(path)).collect::<Vec<PathBuf>>() })
        });
        daemons.collect()
    }

    /// Returns the inodes of the sockets that a process holds.
    fn sockets(process: &Path) -> Vec<String> {
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let links = descriptors.filter_map(|fd| fs::read_link(fd.path()).ok()?.into_os_string().into_string().ok());
        links.filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect()
    }

    /// Returns the process with the first socket in these tables for which `inode` returns the inode.
    pub(super) fn find(tables: &[&str], inode: impl Fn(&str) -> Option<&str>) -> Option<Process> {
        let inode = tables.iter().find_map(|path| table(path).lines().find_map(&inode).map(str::to_owned))?;
        let wanted = format!("socket:[{inode}]");
        fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let mut descriptors = fs::read_dir(process.path().join("fd")).ok()?.flatten();
            descriptors.find(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()))?;
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            Some(Process { name: name.trim().escape_debug().to_string(), pid })
        })
    }

    /// Returns the inode if a line of `/proc/net/tcp` is a socket that listens on this address or on all addresses. The
    /// second field is the local address, as words in native byte order, and the port, both in hexadecimal; the fourth
    /// is the state (0A is LISTEN), and the tenth the inode.
    pub(super) fn listens_on_port(line: &str, wanted: SocketAddr) -> Option<&str> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (words, port) = fields.get(1)?.split_once(':')?;
        let bytes = words
            .as_bytes()
            .chunks(8)
            .map(|word| Some(u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes()));
        let bytes = bytes.collect::<Option<Vec<_>>>()?.concat();
        let ip: IpAddr = match <[u8; 4]>::try_from(&bytes[..]) {
            Ok(bytes) => bytes.into(),
            Err(_) => <[u8; 16]>::try_from(&bytes[..]).ok()?.into(),
        };
        let is_here = ip == wanted.ip() || ip.is_unspecified() || wanted.ip().is_unspecified();
        let is_it = *fields.get(3)? == "0A" && is_here && u16::from_str_radix(port, 16) == Ok(wanted.port());
        is_it.then(|| fields.get(9).copied())?
    }

    /// Returns the inode if a line of `/proc/net/unix` is a socket that listens on this path. The fields are `Num:
    /// RefCount Protocol Flags Type St Inode Path`; the flag 00010000 marks a listener, and a path can contain spaces.
    pub(super) fn listens_on_path<'a>(line: &'a str, wanted: &Path) -> Option<&'a str> {
        listener(line).filter(|(_, path)| Path::new(path) == wanted).map(|(inode, _)| inode)
    }

    /// Returns the inode and the path of a listening local socket.
    fn listener(line: &str) -> Option<(&str, &str)> {
        let mut fields = line.split_whitespace();
        let (flags, inode) = (fields.nth(3)?, fields.nth(2)?);
        let path = line.split_once(&format!(" {inode} "))?.1;
        // Abstract addresses begin with `@`.
        (flags == "00010000" && !path.is_empty() && !path.starts_with('@')).then_some((inode, path))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_shown_with_its_name_and_id() {
        let process = Process { name: "node".into(), pid: 7 };
        assert_eq!(process.to_string(), "node (pid 7)");
    }

    #[test]
    fn a_line_of_the_table_is_a_listener_on_the_address_or_on_all_addresses() {
        let line = |words: &str, port: u16, state: &str| {
            format!("0: {words}:{port:04X} 00000000:0000 {state} 0:0 0:0 0 1000 0 4711 1")
        };
        let words = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let found = |line: &str| linux::listens_on_port(line, "127.0.0.1:7733".parse().unwrap()).map(str::to_owned);
        let (here, all, elsewhere) = (words([127, 0, 0, 1]), words([0; 4]), words([10, 0, 0, 1]));
        for (line, is_found) in [
            (line(&here, 7733, "0A"), true),
            (line(&all, 7733, "0A"), true),
            (line(&"0".repeat(32), 7733, "0A"), true),
            (line(&elsewhere, 7733, "0A"), false),
            (line(&here, 7734, "0A"), false),
            (line(&here, 7733, "01"), false),
            (line(&elsewhere, 7733, "01"), false),
        ] {
            assert_eq!(found(&line).as_deref(), is_found.then_some("4711"), "{line}");
        }
        let any = "0.0.0.0:7733".parse().unwrap();
        assert_eq!(linux::listens_on_port(&line(&elsewhere, 7733, "0A"), any), Some("4711"));
    }

    #[test]
    fn a_listener_is_found_by_its_port_and_by_a_removed_path() {
        let own = std::process::id();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(of_port(tcp.local_addr().unwrap()).unwrap().pid, own);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a socket");
        assert_eq!(of_local_socket(&path), None);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(of_local_socket(&path).unwrap().pid, own);
        // Only the whole path matches.
        assert_eq!(of_local_socket(&folder.path().join("a")), None);
        drop(listener);
        assert_eq!(of_local_socket(&path), None);
    }
}
