//! Who holds a port that the daemon wanted: for the message that says so. Looked up only when binding has failed.

use std::net::SocketAddr;

/// The process that listens on an address, such as `nginx (pid 812)`, if this user may know.
#[cfg(target_os = "linux")]
pub(crate) fn of_port(address: SocketAddr) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let table = std::fs::read_to_string(table).ok()?;
        table.lines().find_map(|line| listening_inode(line, address.port())).map(str::to_owned)
    })?;
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let holder =
        processes.filter(|process| process.file_name().to_string_lossy().parse::<u32>().is_ok()).find(|process| {
            let descriptors = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
            descriptors
                .into_iter()
                .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()))
        })?;
    let name = std::fs::read_to_string(holder.path().join("comm")).unwrap_or_default();
    // A process may call itself anything.
    Some(format!("{} (pid {})", name.trim().escape_debug(), holder.file_name().to_string_lossy()))
}

/// The inode of a listening socket on a port, from a line of `/proc/net/tcp` (proc(5)): the second field is the local
/// address with the port in hexadecimal, the fourth the state (0A is LISTEN), the tenth the inode.
#[cfg(target_os = "linux")]
fn listening_inode(line: &str, port: u16) -> Option<&str> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let local = fields.get(1)?.rsplit_once(':')?.1;
    (*fields.get(3)? == "0A" && u16::from_str_radix(local, 16) == Ok(port)).then(|| fields.get(9).copied())?
}

/// The process that listens on an address, if this user may know.
#[cfg(not(target_os = "linux"))]
pub(crate) fn of_port(_: SocketAddr) -> Option<String> {
    None
}
