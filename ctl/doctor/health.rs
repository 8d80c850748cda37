//! What the daemon says of itself that somebody should do something about.

use sse_bus::protocol::{LimitInfo, Status};

use super::{Finding, quoted, socket::Place};
use crate::{
    output::{ago, count, size},
    status::can_be_allowed,
};

/// Descriptors that the daemon needs besides those of its subscribers: its own, and a reserve for each way in.
const OTHER_DESCRIPTORS: u64 = 256;

pub(super) fn look(status: &Status, place: &Place) -> Vec<Finding> {
    vec![
        descriptors(status, place),
        limits(status),
        origins(status, place),
        hosts(status, place),
        history(status, place),
    ]
}

/// Whether there are as many descriptors as subscribers may come.
fn descriptors(status: &Status, place: &Place) -> Finding {
    let check = "descriptors";
    let subscribers = status.limits.iter().find(|limit| limit.limit == "subscribers").map_or(0, |limit| limit.bound);
    let needed = subscribers + OTHER_DESCRIPTORS;
    match allowed(status.pid) {
        Some(limit) if limit < needed => Finding::warning(
            check,
            format!("the daemon may have {limit} descriptors, too few for limits.subscribers = {subscribers}"),
            format!("sudo prlimit --pid $$ --nofile={needed}:{needed} && {}", place.start()),
        ),
        Some(limit) => Finding::ok(check, format!("{limit}, enough for limits.subscribers = {subscribers}")),
        None => Finding::ok(check, "not known, as the daemon's process cannot be looked at"),
    }
}

/// How many descriptors a process may have, from `/proc/PID/limits` (proc(5)). Nothing where there is no such file, or no
/// bound.
fn allowed(pid: u32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether a limit will soon refuse something.
fn limits(status: &Status) -> Finding {
    let near: Vec<_> = status.limits.iter().filter(|limit| limit.is_near()).collect();
    let Some(LimitInfo { limit, bound, .. }) = near.first() else {
        return Finding::ok("limits", "none is near");
    };
    let all: Vec<_> =
        near.iter().map(|LimitInfo { limit, used, bound, .. }| format!("{used} of {limit} = {bound}")).collect();
    let mend = match super::configuration::file() {
        Some(file) => {
            format!("${{EDITOR:-vi}} {}   # [limits] {limit} = {}", quoted(&file.to_string_lossy()), bound * 2)
        }
        None => format!("# [limits] {limit} = {}", bound * 2),
    };
    Finding::warning("limits", format!("nearly reached: {}", all.join(", ")), mend)
}

/// Whether pages wanted in that the daemon does not know.
fn origins(status: &Status, place: &Place) -> Finding {
    let refused = &status.refused_origins;
    if refused.is_empty() {
        return Finding::ok("origins", "no page was refused");
    }
    let all: Vec<_> = refused
        .iter()
        .map(|refused| format!("{} ({}, last {})", refused.origin, count(refused.times, "time"), ago(refused.last)))
        .collect();
    let flags: Vec<_> = refused
        .iter()
        .filter(|refused| can_be_allowed(&refused.origin))
        .map(|refused| format!("--allow-origin {}", quoted(&refused.origin)))
        .collect();
    if flags.is_empty() {
        let what = format!("refused were pages of {}; they have no origin that could be let in", all.join(", "));
        return Finding::warning("origins", what, "# serve the page from an origin, such as http://localhost:3000");
    }
    let what = format!("refused were pages of {}; if they are yours, let them in", all.join(", "));
    Finding::warning("origins", what, place.start_with(&flags.join(" ")))
}

/// Whether requests came for a name that the daemon does not go by.
fn hosts(status: &Status, place: &Place) -> Finding {
    let refused = &status.refused_hosts;
    if refused.is_empty() {
        return Finding::ok("hosts", "no request was for another name");
    }
    let described = refused
        .iter()
        .map(|refused| format!("{} ({}, last {})", refused.host, count(refused.times, "time"), ago(refused.last)));
    let what = format!(
        "refused were requests for {}; if you reach the bus by such a name, allow it",
        described.collect::<Vec<_>>().join(", ")
    );
    let flags: Vec<_> = refused.iter().map(|refused| format!("--allow-host {}", quoted(&refused.host))).collect();
    Finding::warning("hosts", what, place.start_with(&flags.join(" ")))
}

/// Whether history is written, and has room.
fn history(status: &Status, place: &Place) -> Finding {
    let directory = quoted(&status.state_dir);
    if let Some(why) = &status.history_trouble {
        let what = format!("history is not written to {}: {why}", status.state_dir);
        return Finding::problem("history", what, format!("df -h {directory} && ls -ld {directory}"));
    }
    let kept = format!(
        "{} in {}, {} of {}",
        count(status.history_events, "event"),
        status.history,
        size(status.history_bytes),
        size(status.history_budget)
    );
    if status.history != "disk" {
        return Finding::ok("history", kept);
    }
    let wanted = status.history_budget.saturating_sub(status.history_bytes);
    match free(&status.state_dir) {
        Some(free) if free < wanted => Finding::warning(
            "history",
            format!("{kept}, but the disk of {} has only {} left", status.state_dir, size(free)),
            place
                .start_with(&format!("--history disk --history-budget {}MiB", (status.history_bytes + free / 2) >> 20)),
        ),
        Some(free) => Finding::ok("history", format!("{kept}; the disk has {} left", size(free))),
        None => Finding::ok("history", kept),
    }
}

/// Bytes that are free on the disk of a directory.
#[cfg(unix)]
fn free(directory: &str) -> Option<u64> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(windows)]
fn free(_: &str) -> Option<u64> {
    None
}
