//! The service of this user: whether it is installed, comes up by itself, runs, and goes on after the user has left.
//!
//! Where no service manager can be asked, nothing is known, and nothing is wrong: a daemon can run without one.

use super::{Finding, socket::Daemon};

/// The units that there can be, in the order in which the manager is asked about them.
const UNITS: [&str; 3] = ["sse-bus.service", "sse-bus-http.socket", "sse-bus-ipc.socket"];

/// What the manager says about the units.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Units([Unit; 3]);

/// What the manager says about one of them.
#[derive(Clone, Debug, Default, PartialEq)]
struct Unit {
    is_installed: bool,
    is_enabled: bool,
    /// `active`, `inactive`, `failed` and so on.
    active: String,
}

impl Units {
    /// Whether the service runs.
    pub(super) fn is_active(&self) -> bool {
        self.0[0].active == "active"
    }

    /// Whether the manager holds the port for it.
    pub(super) fn hold_the_port(&self) -> bool {
        self.0[1].active == "active"
    }

    fn are_installed(&self) -> bool {
        self.0[0].is_installed
    }

    /// Whether it comes up by itself: at the start of the manager, or with the first connection.
    fn are_enabled(&self) -> bool {
        self.0.iter().any(|unit| unit.is_enabled)
    }

    /// Reads what `systemctl show` prints: a block of properties for each unit, in the order asked for.
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

    /// Asks the manager.
    ///
    /// # Errors
    ///
    /// Says why none can be asked.
    #[cfg(target_os = "linux")]
    pub(super) async fn ask() -> Result<Units, String> {
        let mut systemctl = tokio::process::Command::new("systemctl");
        systemctl.args(["--user", "show", "--property=LoadState,UnitFileState,ActiveState"]).args(UNITS);
        match super::output_of(&mut systemctl).await {
            Some((true, said, _)) => Units::parse(&said).ok_or_else(|| "systemctl says what is not understood".into()),
            Some((false, _, said)) => Err(said.lines().next().unwrap_or("systemctl fails").to_owned()),
            None => Err("there is no systemctl".into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_async, reason = "elsewhere a program is asked")]
    pub(super) async fn ask() -> Result<Units, String> {
        Err("only that of systemd is looked at".into())
    }
}

pub(super) async fn look(units: Result<Units, String>, daemon: &Daemon) -> Vec<Finding> {
    let units = match units {
        Ok(units) => units,
        Err(why) => {
            return vec![Finding::ok("service", format!("not known, as no service manager can be asked: {why}"))];
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
        let what =
            "none is installed, so that a daemon ends with its terminal; `sse-busctl service install` installs one";
        return Finding::ok("service", what);
    }
    let start = "sse-busctl service start";
    match daemon {
        _ if state == "failed" => {
            let mend = "sse-busctl service logs; systemctl --user reset-failed sse-bus; sse-busctl service start";
            Finding::problem("service", "sse-bus.service has failed, and its log says why", mend)
        }
        _ if !units.are_enabled() => {
            let mend = format!("systemctl --user enable --now {} {} sse-bus", UNITS[1], UNITS[2]);
            Finding::warning("service", "sse-bus.service is installed, but does not start by itself", mend)
        }
        Daemon::IsAway if !units.is_active() => {
            Finding::problem("service", format!("sse-bus.service is enabled, but {state}"), start)
        }
        Daemon::Answers(status) if !units.is_active() => {
            let what = format!("the daemon is not that of sse-bus.service, which is {state}, and holds its place");
            Finding::warning("service", what, format!("kill {} && {start}", status.pid))
        }
        _ => Finding::ok("service", format!("sse-bus.service is enabled and {state}")),
    }
}

/// What logind says about lingering: `yes`, `no`, or nothing.
#[cfg(target_os = "linux")]
async fn linger() -> Option<String> {
    let user = rustix::process::geteuid().as_raw().to_string();
    let mut loginctl = tokio::process::Command::new("loginctl");
    loginctl.args(["show-user", &user, "--property=Linger", "--value"]);
    super::output_of(&mut loginctl).await.filter(|(done, ..)| *done).map(|(_, said, _)| said)
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unused_async, reason = "elsewhere a program is asked")]
async fn linger() -> Option<String> {
    None
}

fn lingering(linger: Option<&str>) -> Finding {
    match linger {
        Some("yes") => Finding::ok("lingering", "the service goes on after you log out, and starts with the machine"),
        Some("no") => Finding::warning(
            "lingering",
            "the service ends when you log out, and starts only when you log in",
            "loginctl enable-linger",
        ),
        _ => Finding::ok("lingering", "not known, as logind cannot be asked"),
    }
}

#[cfg(test)]
mod tests {
    use sse_bus::protocol::Status;

    use super::*;

    /// What systemd 252 prints.
    fn units(load: &str, enabled: &str, active: &str) -> Units {
        let block = format!("LoadState={load}\nActiveState={active}\nUnitFileState={enabled}");
        Units::parse(&[block.as_str(); 3].join("\n\n")).unwrap()
    }

    fn mend(units: &Units, daemon: &Daemon) -> String {
        service(units, daemon).mend.unwrap_or_default()
    }

    #[test]
    fn a_service_that_does_not_do_what_it_is_for_is_told_with_what_mends_it() {
        let mut status = Status::default();
        status.pid = 812;
        let answers = Daemon::Answers(Box::new(status));
        let tests = [
            (units("not-found", "", "inactive"), &answers, ""),
            (units("loaded", "enabled", "active"), &answers, ""),
            (units("loaded", "enabled", "failed"), &Daemon::IsAway, "reset-failed"),
            (units("loaded", "disabled", "active"), &answers, "systemctl --user enable --now"),
            (units("loaded", "enabled", "inactive"), &Daemon::IsAway, "sse-busctl service start"),
            (units("loaded", "enabled", "inactive"), &answers, "kill 812"),
        ];
        for (units, daemon, wanted) in tests {
            let mend = mend(&units, daemon);
            assert!(mend.contains(wanted) && mend.is_empty() == wanted.is_empty(), "{units:?}: {mend}");
        }
        assert_eq!(Units::parse("LoadState=loaded"), None);
    }

    #[test]
    fn a_service_that_ends_with_the_session_can_linger() {
        assert_eq!(lingering(Some("no")).mend.as_deref(), Some("loginctl enable-linger"));
        assert!([Some("yes"), None].map(lingering).iter().all(|finding| finding.mend.is_none()));
    }
}
