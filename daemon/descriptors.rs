//! File descriptors: as many as the system allows, some of them kept for the local socket.

/// Descriptors that TCP connections do not get: for the local socket, so that events still come in and `sse-busctl`
/// still answers when browsers have taken all others, and for what the daemon opens itself.
const RESERVE: usize = 128;

/// Raises the limit to what the system allows at most, and gives how many TCP connections it has room for.
pub(crate) fn room_for_connections() -> usize {
    let limit = raise_limit();
    limit - RESERVE.min(limit / 2)
}

#[cfg(unix)]
fn raise_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    limit.map_or(MANY, |limit| usize::try_from(limit).unwrap_or(MANY).min(MANY))
}

/// Windows has no such limit.
#[cfg(windows)]
fn raise_limit() -> usize {
    MANY
}

/// Beyond this other bounds count.
const MANY: usize = 1 << 20;
