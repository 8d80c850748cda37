//! Checks the service of this user: whether it is installed, enabled and running, and whether it keeps running after
//! logout.
//!
//! Without access to a service manager the state is unknown, which is not a problem: a daemon can run without one.

#[cfg(target_os = "linux")]
use super::program::{Output, output_of};
use super::{finding::Finding, target::Daemon};

/// The units, in the order in which they are queried.
const UNITS: [&str; 3] = ["sse-bus.service", "sse-bus-http.socket", "sse-bus-ipc.socket"];

/// The states of the units.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Units([Unit; 3]);

/// The state of one unit.
#[derive(Clone, Debug, Default, PartialEq)]
struct Unit {
    is_installed: bool,
    is_enabled: bool,
    /// `active`, `inactive`, `failed` or another state of systemd.
    active: String,
}

impl Units {
    /// Returns true if the service runs.
    pub(super) fn is_active(&self) -> bool {
        self.0[0].active == "active"
    }

    /// Returns true if the service manager listens on the port for the daemon.
    pub(super) fn hold_the_port(&self) -> bool {
        self.0[1].active == "active"
    }

    fn are_installed(&self) -> bool {
        self.0[0].is_installed
    }

    /// Returns true if the service starts automatically, with the service manager or at the first connection.
    fn are_enabled(&self) -> bool {
        self.0.iter().any(|unit| unit.is_enabled)
    }

    /// Parses the output of `systemctl show`: a block of properties per unit, in the order of the query.
    #[cfg(any(target_os = "linux", test))]
    fn parse(text: &str) -> Option<Units> {
        let unit = |block: &str| {
            let property = |name: &str| {
                block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
            };
            Unit {
                is_installed: property("LoadState") == "loaded",
                is_enabled: property("UnitFileState").starts_with("enabled"),
                active: property("ActiveState").into(),
            }
        };
        let units: Vec<_> = text.split("\n\n").map(unit).collect();
        units.try_into().ok().map(Units)
    }

    /// Queries the service manager.
    #[cfg(target_os = "linux")]
    pub(super) async fn query() -> Result<Units, QueryError> {
        let mut systemctl = tokio::process::Command::new("systemctl");
        systemctl.args(["--user", "show", "--property=LoadState,UnitFileState,ActiveState"]).args(UNITS);
        match output_of(&mut systemctl).await {
            Some(Output { has_succeeded: true, stdout, .. }) => Units::parse(&stdout).ok_or(QueryError::UnknownOutput),
            Some(Output { stderr, .. }) => {
                Err(QueryError::Failed(stderr.lines().next().unwrap_or("no error message").to_owned()))
            }
            None => Err(QueryError::NoSystemctl),
        }
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_async, reason = "on Linux a program is run")]
    pub(super) async fn query() -> Result<Units, QueryError> {
        Err(QueryError::NotSystemd)
    }
}

/// Why the service manager cannot be queried.
#[derive(Debug, thiserror::Error)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "Linux has systemd"))]
pub(super) enum QueryError {
    #[error("{0}")]
    Failed(String),
    #[error("systemctl has unknown output")]
    UnknownOutput,
    #[error("there is no systemctl")]
    NoSystemctl,
    #[cfg(not(target_os = "linux"))]
    #[error("only systemd is supported")]
    NotSystemd,
}

pub(super) async fn check(units: Result<Units, QueryError>, daemon: &Daemon) -> Vec<Finding> {
    let units = match units {
        Ok(units) => units,
        Err(error) => {
            let message = format!("the service manager cannot be queried: {error}");
            return vec![Finding::unknown("service", message)];
        }
    };
    let mut findings = vec![service(&units, daemon)];
    if units.are_installed() && units.are_enabled() {
        findings.push(lingering(linger().await.as_deref()));
    }
    findings
}

fn service(units: &Units, daemon: &Daemon) -> Finding {
    let state = units.0[0].active.as_str();
    if !units.are_installed() {
        let message =
            "not installed, so the daemon ends with its terminal; install it with `sse-busctl service install`";
        return Finding::ok("service", message);
    }
    let start = "sse-busctl service start";
    match daemon {
        _ if state == "failed" => {
            let fix = "sse-busctl service logs; systemctl --user reset-failed sse-bus; sse-busctl service start";
            Finding::problem("service", "sse-bus.service has failed; see its log", fix)
        }
        _ if !units.are_enabled() => {
            let fix = format!("systemctl --user enable --now {} {} sse-bus", UNITS[1], UNITS[2]);
            Finding::warning("service", "sse-bus.service is installed, but not enabled", fix)
        }
        Daemon::IsAbsent if !units.is_active() => {
            Finding::problem("service", format!("sse-bus.service is enabled, but {state}"), start)
        }
        Daemon::Responds(status) if !units.is_active() => {
            let message =
                format!("the daemon does not belong to sse-bus.service, which is {state}, and uses its socket");
            Finding::warning("service", message, format!("kill {} && {start}", status.pid))
        }
        _ => Finding::ok("service", format!("sse-bus.service is enabled and {state}")),
    }
}

/// Returns the lingering state from logind: `yes`, `no`, or `None` if it is unknown.
#[cfg(target_os = "linux")]
async fn linger() -> Option<String> {
    let user = rustix::process::geteuid().as_raw().to_string();
    let mut loginctl = tokio::process::Command::new("loginctl");
    loginctl.args(["show-user", &user, "--property=Linger", "--value"]);
    output_of(&mut loginctl).await.filter(|output| output.has_succeeded).map(|output| output.stdout)
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unused_async, reason = "on Linux a program is run")]
async fn linger() -> Option<String> {
    None
}

fn lingering(linger: Option<&str>) -> Finding {
    match linger {
        Some("yes") => {
            Finding::ok("lingering", "the service keeps running after you log out, and starts with the machine")
        }
        Some("no") => Finding::warning(
            "lingering",
            "the service stops when you log out, and starts only when you log in",
            "loginctl enable-linger",
        ),
        _ => Finding::unknown("lingering", "logind cannot be queried"),
    }
}

#[cfg(test)]
mod tests {
    use sse_bus::protocol::Status;

    use super::*;

    /// The output of systemd 252.
    fn units(load: &str, enabled: &str, active: &str) -> Units {
        let block = format!("LoadState={load}\nActiveState={active}\nUnitFileState={enabled}");
        Units::parse(&[block.as_str(); 3].join("\n\n")).unwrap()
    }

    fn fix(units: &Units, daemon: &Daemon) -> String {
        service(units, daemon).fix.unwrap_or_default()
    }

    #[test]
    fn a_service_that_does_not_work_is_reported_with_a_fix() {
        let mut status = Status::default();
        status.pid = 812;
        let responds = Daemon::Responds(Box::new(status));
        let tests = [
            (units("not-found", "", "inactive"), &responds, ""),
            (units("loaded", "enabled", "active"), &responds, ""),
            (units("loaded", "enabled", "failed"), &Daemon::IsAbsent, "reset-failed"),
            (units("loaded", "disabled", "active"), &responds, "systemctl --user enable --now"),
            (units("loaded", "enabled", "inactive"), &Daemon::IsAbsent, "sse-busctl service start"),
            (units("loaded", "enabled", "inactive"), &responds, "kill 812"),
        ];
        for (units, daemon, wanted) in tests {
            let fix = fix(&units, daemon);
            assert!(fix.contains(wanted) && fix.is_empty() == wanted.is_empty(), "{units:?}: {fix}");
        }
        assert_eq!(Units::parse("LoadState=loaded"), None);
    }

    #[test]
    fn a_service_that_ends_with_the_session_can_linger() {
        assert_eq!(lingering(Some("no")).fix.as_deref(), Some("loginctl enable-linger"));
        assert!([Some("yes"), None].map(lingering).iter().all(|finding| finding.fix.is_none()));
    }
}
