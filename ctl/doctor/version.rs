//! Checks that client and daemon have the same version.

use std::cmp::Ordering;

use sse_bus::protocol::Status;

use super::{finding::Finding, restart};

/// Compares the versions of this program and the daemon.
pub(super) fn compare(ours: &str, daemon: &Status, is_service: bool) -> Finding {
    let theirs = daemon.version.as_str();
    match numbers(ours).cmp(&numbers(theirs)) {
        _ if ours == theirs => Finding::ok("version", format!("sse-busctl and sse-busd are both {ours}")),
        Ordering::Less => Finding::warning(
            "version",
            format!("this sse-busctl {ours} is older than the daemon {theirs}; there may be another one in your PATH"),
            "which -a sse-busctl",
        ),
        _ => Finding::warning(
            "version",
            format!("the daemon {theirs} is older than this sse-busctl {ours}; it was not restarted after an upgrade"),
            if is_service {
                "systemctl --user restart sse-bus".into()
            } else {
                restart::command(daemon.pid, "sse-busd")
            },
        ),
    }
}

/// Returns the numbers of a version, for comparison.
fn numbers(version: &str) -> Vec<u64> {
    let digits = version.split(|c: char| !c.is_ascii_digit()).take(3);
    digits.map(|digits| digits.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(version: &str) -> Status {
        let mut status = Status::default();
        (status.version, status.pid) = (version.into(), u32::MAX);
        status
    }

    #[test]
    fn an_older_daemon_must_be_restarted() {
        for (ours, theirs) in [("0.2.0", "0.1.9"), ("0.10.0", "0.9.9"), ("1.0.0", "0.9")] {
            let finding = compare(ours, &daemon(theirs), false);
            assert_eq!(finding.fix.as_deref(), Some(&*format!("kill {} && sse-busd", u32::MAX)), "{finding:?}");
            let finding = compare(ours, &daemon(theirs), true);
            assert_eq!(finding.fix.as_deref(), Some("systemctl --user restart sse-bus"), "{finding:?}");
        }
    }

    #[test]
    fn an_older_client_may_not_be_the_installed_one() {
        let finding = compare("0.1.0", &daemon("0.1.1"), true);
        assert_eq!(finding.fix.as_deref(), Some("which -a sse-busctl"), "{finding:?}");
    }

    #[test]
    fn equal_versions_are_in_order() {
        assert_eq!(compare("0.1.0", &daemon("0.1.0"), false).fix, None);
    }
}
