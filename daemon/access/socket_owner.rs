//! The user of the process at the other end of a loopback connection, as the kernel reports it.
//!
//! Linux answers for one connection in a few microseconds over `NETLINK_SOCK_DIAG` (`sock_diag(7)`). The reply proves something
//! only for a socket that a process still holds: once the process has exited, the kernel reports user 0 and inode 0.

use std::net::SocketAddr;

/// Asks the kernel for the users of connections. Systems other than Linux do not report them.
pub(super) struct Owners {
    #[cfg(target_os = "linux")]
    kernel: Result<std::sync::Mutex<linux::Kernel>, String>,
}

impl Owners {
    #[cfg(target_os = "linux")]
    pub(super) fn new() -> Owners {
        let kernel = linux::Kernel::open().map_err(|e| e.to_string());
        if let Err(error) = &kernel {
            tracing::warn!(
                %error,
                "the kernel does not report the users of connections, so every connection needs a token; allow the daemon AF_NETLINK"
            );
        }
        Owners { kernel: kernel.map(std::sync::Mutex::new) }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn new() -> Owners {
        Owners {}
    }

    /// Returns true if the kernel reports users.
    #[cfg(target_os = "linux")]
    pub(super) fn is_available(&self) -> bool {
        self.kernel.is_ok()
    }

    /// Returns true if the kernel reports users.
    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, reason = "the same interface as on Linux")]
    pub(super) fn is_available(&self) -> bool {
        false
    }

    /// Returns true if the other end of an accepted connection belongs to a process of the daemon's own user.
    #[cfg(target_os = "linux")]
    pub(super) fn is_own(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        let Ok(kernel) = &self.kernel else { return false };
        let kernel = kernel.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match kernel.owner_of(peer, local) {
            Ok(owner) => owner == Some(rustix::process::geteuid().as_raw()),
            Err(error) => {
                tracing::debug!(%peer, %error, "the kernel did not report the user of a connection");
                false
            }
        }
    }

    /// Returns true if the other end of an accepted connection belongs to a process of the daemon's own user.
    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, reason = "the same interface as on Linux")]
    pub(super) fn is_own(&self, _: SocketAddr, _: SocketAddr) -> bool {
        false
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        io,
        net::{IpAddr, SocketAddr},
        os::fd::OwnedFd,
    };

    use rustix::net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::SOCK_DIAG, recv, send, socket_with,
    };

    /// `SOCK_DIAG_BY_FAMILY`, from `linux/sock_diag.h`.
    const BY_FAMILY: u16 = 20;
    /// `NLM_F_REQUEST`, from `linux/netlink.h`.
    const REQUEST: u16 = 1;
    /// Bytes of `struct nlmsghdr`, `struct inet_diag_req_v2`, `struct inet_diag_sockid`, `struct inet_diag_msg`
    /// (`linux/inet_diag.h`).
    const HEADER: usize = 16;
    const QUESTION: usize = HEADER + 56;
    const SOCKET_ID: usize = 48;
    /// Bytes of a socket's ID with its ports and addresses.
    const ENDS: usize = 36;
    const REPLY: usize = HEADER + 72;

    /// States (`net/tcp_states.h`) of a connected socket: established, and those in which this end has closed its sending half,
    /// as `nc -N` does.
    const CONNECTED: [u8; 3] = [1, 4, 5];

    /// A socket to ask the kernel about sockets.
    pub(super) struct Kernel(OwnedFd);

    impl Kernel {
        pub(super) fn open() -> io::Result<Kernel> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            Ok(Kernel(socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(SOCK_DIAG))?))
        }

        /// Returns the user whose process holds the socket at `here` that is connected to `there`, if there is one.
        pub(super) fn owner_of(&self, here: SocketAddr, there: SocketAddr) -> io::Result<Option<u32>> {
            let question = question(here, there);
            let ids = [socket_id(here, there), socket_id(mapped(here), mapped(there))];
            // Discard replies to earlier questions.
            let mut reply = [0; 512];
            while recv(&self.0, &mut reply[..], RecvFlags::empty()).is_ok() {}
            send(&self.0, &question, SendFlags::empty())?;
            // The kernel has answered when `send` returns.
            let (_, length) = recv(&self.0, &mut reply[..], RecvFlags::empty())?;
            Ok(owner(reply.get(..length).unwrap_or_default(), &ids))
        }
    }

    fn question(here: SocketAddr, there: SocketAddr) -> [u8; QUESTION] {
        const TCP: u8 = 6;
        let mut question = [0; QUESTION];
        question[..4].copy_from_slice(&(QUESTION as u32).to_ne_bytes());
        question[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        question[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
        let family = if here.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        question[HEADER] = family.as_raw() as u8;
        question[HEADER + 1] = TCP;
        // All states; the reply contains the state.
        question[HEADER + 4..HEADER + 8].fill(0xff);
        let id = &mut question[HEADER + 8..][..SOCKET_ID];
        id[..ENDS].copy_from_slice(&socket_id(here, there));
        // `INET_DIAG_NOCOOKIE`.
        id[40..].fill(0xff);
        question
    }

    /// Returns ports and addresses of both ends, as the kernel writes them.
    fn socket_id(here: SocketAddr, there: SocketAddr) -> [u8; ENDS] {
        let mut id = [0; ENDS];
        id[..2].copy_from_slice(&here.port().to_be_bytes());
        id[2..4].copy_from_slice(&there.port().to_be_bytes());
        for (at, address) in [(4, here.ip()), (20, there.ip())] {
            match address {
                IpAddr::V4(address) => id[at..at + 4].copy_from_slice(&address.octets()),
                IpAddr::V6(address) => id[at..at + 16].copy_from_slice(&address.octets()),
            }
        }
        id
    }

    /// Returns the address of an IPv6 socket that is connected over IPv4, as those of Java and .NET are.
    fn mapped(address: SocketAddr) -> SocketAddr {
        match address.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            IpAddr::V6(_) => address,
        }
    }

    /// Returns the user that the kernel's reply proves. Without a connected socket it describes the listening one, or is an
    /// error.
    fn owner(reply: &[u8], ids: &[[u8; ENDS]; 2]) -> Option<u32> {
        let number = |at: usize| Some(u32::from_ne_bytes(reply.get(at..at + 4)?.try_into().ok()?));
        let kind = reply.get(4..6)?;
        let state = *reply.get(HEADER + 1)?;
        // The interface and the cookie follow, which the kernel fills in.
        let found = reply.get(HEADER + 4..)?.get(..ENDS)?;
        let same_socket = ids.iter().any(|id| id == found);
        let (uid, inode) = (number(REPLY - 8)?, number(REPLY - 4)?);
        (kind == BY_FAMILY.to_ne_bytes() && CONNECTED.contains(&state) && same_socket && inode != 0).then_some(uid)
    }

    #[cfg(test)]
    mod tests {
        use std::net::{TcpListener, TcpStream};

        use super::*;

        #[test]
        fn a_socket_of_version_6_that_is_connected_over_version_4_has_an_owner() {
            let kernel = Kernel::open().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let listening = listener.local_addr().unwrap();
            let client = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
            client.connect(&mapped(listening).into()).unwrap();
            let (_server, peer) = listener.accept().unwrap();
            assert!(peer.is_ipv4(), "{peer}");
            let own = Some(rustix::process::geteuid().as_raw());
            assert_eq!(kernel.owner_of(peer, listening).unwrap(), own);
            drop(client);
            assert_eq!(kernel.owner_of(peer, listening).unwrap(), None, "closed");
        }

        #[test]
        fn only_a_socket_that_a_process_holds_has_an_owner() {
            let kernel = Kernel::open().unwrap();
            let own = Some(rustix::process::geteuid().as_raw());
            for address in ["127.0.0.1:0", "[::1]:0"] {
                let Ok(listener) = TcpListener::bind(address) else { continue };
                let listening = listener.local_addr().unwrap();
                let client = TcpStream::connect(listening).unwrap();
                let (server, peer) = listener.accept().unwrap();
                assert_eq!(kernel.owner_of(peer, listening).unwrap(), own, "established");
                client.shutdown(std::net::Shutdown::Write).unwrap();
                assert_eq!(kernel.owner_of(peer, listening).unwrap(), own, "half closed");
                drop(client);
                assert_eq!(kernel.owner_of(peer, listening).unwrap(), None, "closed");
                drop(server);
                let nobody = SocketAddr::new(listening.ip(), 1);
                assert_eq!(kernel.owner_of(listening, nobody).unwrap(), None, "the listening socket alone");
                assert_eq!(kernel.owner_of(nobody, nobody).unwrap(), None, "nothing");
            }
        }
    }
}
