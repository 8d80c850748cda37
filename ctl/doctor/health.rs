//! Checks the state that the daemon reports: limits, refused requests and history.

use sse_bus::{
    protocol::{HistoryKind, LimitInfo, LogInfo, RefusedOrigin, Status},
    shell::quoted,
};

use super::{configuration, finding::Finding, restart, target::Target};
use crate::{
    limit_fix::LimitFix,
    status::{describe_log, history_usage},
    units::{ago, count, size},
};

/// File descriptors that the daemon needs besides those of subscribers: its own, and a reserve for each listener.
const OTHER_DESCRIPTORS: u64 = 256;

/// `is_service` means that systemd started the daemon.
pub(super) fn check(status: &Status, target: &Target, is_service: bool) -> Vec<Finding> {
    vec![descriptors(status, target, is_service), limits(status), origins(status), hosts(status), history(status)]
}

/// Checks that there are enough file descriptors for the maximum number of subscribers.
fn descriptors(status: &Status, target: &Target, is_service: bool) -> Finding {
    let check = "descriptors";
    let subscribers = status.limits.iter().find(|limit| limit.limit == "subscribers").map_or(0, |limit| limit.bound);
    let needed = subscribers + OTHER_DESCRIPTORS;
    match allowed(status.pid) {
        Some(limit) if limit < needed => Finding::warning(
            check,
            format!("the daemon can have {limit} descriptors, too few for limits.subscribers = {subscribers}"),
            if is_service {
                let restart = "systemctl --user restart sse-bus";
                format!("systemctl --user edit sse-bus && {restart}   # [Service] LimitNOFILE={needed}")
            } else {
                let restart = restart::command(status.pid, &target.start());
                format!("sudo prlimit --pid $$ --nofile={needed}:{needed} && {restart}")
            },
        ),
        Some(limit) => Finding::ok(check, format!("{limit}, enough for limits.subscribers = {subscribers}")),
        None => Finding::unknown(check, "the daemon's process cannot be examined"),
    }
}

/// Returns the limit of file descriptors of a process, from `/proc/PID/limits` (proc(5)), or `None` if there is no such
/// file or no limit.
fn allowed(pid: u32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Checks that no limit is nearly reached.
fn limits(status: &Status) -> Finding {
    let mut near: Vec<_> = status.limits.iter().filter(|limit| limit.is_near()).collect();
    near.sort_by_key(|limit| limit.is_fixed());
    let Some(first @ LimitInfo { limit, bound, .. }) = near.first() else {
        return Finding::ok("limits", "no limit is nearly reached");
    };
    let all: Vec<_> =
        near.iter().map(|LimitInfo { limit, used, bound, .. }| format!("{used} of {limit} = {bound}")).collect();
    // Those that the configuration sets come first.
    let fix = if first.is_fixed() {
        LimitFix::of(first).command.to_owned()
    } else {
        configuration::edit(status, &format!("[limits] {limit} = {}", bound * 2))
    };
    Finding::warning("limits", format!("nearly reached: {}", all.join(", ")), fix)
}

/// Checks that no pages of unknown origins were refused. The fix names only pages of this machine: another page may be
/// hostile.
fn origins(status: &Status) -> Finding {
    let refused = &status.refused_origins;
    if refused.is_empty() {
        return Finding::ok("origins", "no page was refused");
    }
    let all: Vec<_> = refused
        .iter()
        .map(|refused| format!("{} ({}, last {})", refused.origin, count(refused.times, "time"), ago(refused.last)))
        .collect();
    let all = all.join(", ");
    if !refused.iter().any(RefusedOrigin::can_be_allowed) {
        let message = format!("refused pages of {all}, which have no origin that can be allowed");
        return Finding::warning("origins", message, "# serve the page from an origin, such as http://localhost:3000");
    }
    let own: Vec<_> =
        refused.iter().filter(|refused| is_local(&refused.origin)).map(|refused| &refused.origin).collect();
    let message = format!("refused pages of {all}; allow only pages that you serve yourself");
    let setting = match own[..] {
        [] => "allow_origin = [\"ORIGIN\"], only if the page is yours".into(),
        _ => format!("allow_origin = {own:?}"),
    };
    Finding::warning("origins", message, configuration::edit(status, &setting))
}

/// Returns true for an origin on this machine, such as that of a development server.
fn is_local(origin: &str) -> bool {
    let authority = origin.split_once("://").map_or(origin, |(_, authority)| authority);
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| {
        let port = authority.strip_prefix(name);
        port.is_some_and(|port| port.is_empty() || port.starts_with(':'))
    })
}

/// Checks that no requests for unknown host names were refused. The fix names none of them: a page can make a browser send
/// any name.
fn hosts(status: &Status) -> Finding {
    let refused = &status.refused_hosts;
    if refused.is_empty() {
        return Finding::ok("hosts", "no request was for an unknown host name");
    }
    let described = refused
        .iter()
        .map(|refused| format!("{} ({}, last {})", refused.host, count(refused.times, "time"), ago(refused.last)));
    let message = format!(
        "refused requests for {}; allow only a name that you use for the bus",
        described.collect::<Vec<_>>().join(", ")
    );
    let setting = "allow_host = [\"HOST\"], only if the name is yours";
    Finding::warning("hosts", message, configuration::edit(status, setting))
}

/// Checks that history is written and has enough space.
fn history(status: &Status) -> Finding {
    if let Some(log) = &status.log {
        return log_on_nats(log);
    }
    let directory = quoted(&status.state_dir);
    if let Some(error) = &status.history_error {
        let message = format!("history cannot be written to {}: {error}", status.state_dir);
        return Finding::problem("history", message, format!("df -h {directory} && ls -ld {directory}"));
    }
    let usage = history_usage(status);
    if status.history != HistoryKind::Disk {
        return Finding::ok("history", usage);
    }
    let wanted = status.history_budget.saturating_sub(status.history_bytes);
    match free(&status.state_dir) {
        Some(free) if free < wanted => Finding::warning(
            "history",
            format!("{usage}, but the disk of {} has only {} left", status.state_dir, size(free)),
            configuration::edit(
                status,
                &format!("history_budget = \"{}MiB\"", (status.history_bytes + free / 2) >> 20),
            ),
        ),
        Some(free) => Finding::ok("history", format!("{usage}; the disk has {} left", size(free))),
        None => Finding::ok("history", usage),
    }
}

/// Checks that the node has the newest events of a log on NATS, and can publish.
fn log_on_nats(log: &LogInfo) -> Finding {
    /// Events that a node may not have applied yet while others publish quickly.
    const LAG: u64 = 10_000;
    let servers = log.servers.join(", ");
    let described = describe_log(log);
    let ping = format!("nats --server {} stream info {}", quoted(&log.servers.join(",")), quoted(&log.stream));
    match &log.error {
        Some(error) => {
            Finding::problem("history", format!("the log on NATS ({servers}) cannot be used: {error}"), ping)
        }
        None if log.lag > LAG => {
            Finding::warning("history", format!("{described}: this node is behind the log"), "sse-busctl nodes")
        }
        None => Finding::ok("history", described),
    }
}

/// Returns the free bytes on the disk of a directory.
#[cfg(unix)]
fn free(directory: &str) -> Option<u64> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(windows)]
fn free(_: &str) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_of_this_machine_are_suggested() {
        for origin in ["http://localhost:3000", "https://localhost", "http://127.0.0.1:80", "http://[::1]:5173"] {
            assert!(is_local(origin), "{origin}");
        }
        for origin in ["http://localhost.evil.example", "http://evil.example:80", "null", "http://127.0.0.10"] {
            assert!(!is_local(origin), "{origin}");
        }
    }
}
