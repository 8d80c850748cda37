//! `sse-busctl doctor`: looks for what keeps the bus from working, and says what mends it.
//!
//! Each check tells one or more [`Finding`]s as soon as it is done: that something is well, that it may become a
//! problem, or that it is one. What is not well always comes with what mends it. The checks only look, but for `--url`,
//! which publishes events on a topic of its own. A check that cannot know says so, and that is no problem.
//!
//! No check waits for long: a daemon has [`PATIENCE`] to answer, and so has every program that is asked.

mod clock;
mod configuration;
mod health;
mod port;
mod proxy;
mod service;
mod socket;
mod version;

use std::{io, process::Stdio, time::Duration};

use serde::Serialize;
use sse_bus::{Endpoint, shell::quoted};
use tokio::{process::Command, time::timeout};

use self::socket::{Daemon, Place};
use crate::{
    cli,
    exit::{Exit, Failure},
    output::{Output, visible},
};

/// How long the daemon, or a program, has to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a check has found.
#[derive(Debug, PartialEq, Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    message: String,
    /// What mends it: a command where there is one. Nothing only if all is well.
    mend: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Problem,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Finding {
        Finding { check, state: State::Ok, message: message.into(), mend: None }
    }

    fn warning(check: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { check, state: State::Warning, message: message.into(), mend: Some(mend.into()) }
    }

    fn problem(check: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { check, state: State::Problem, message: message.into(), mend: Some(mend.into()) }
    }
}

/// Where findings go.
struct Report<'a> {
    output: &'a Output,
    has_problem: bool,
}

impl Report<'_> {
    fn tell(&mut self, finding: &Finding) -> io::Result<()> {
        self.has_problem |= finding.state == State::Problem;
        self.output.say(|| describe(finding), finding)
    }

    /// How the program ends.
    fn end(&self, daemon: &Daemon) -> Result<(), Failure> {
        match daemon {
            Daemon::IsAway => Err(Exit::NoDaemon.into()),
            _ if self.has_problem => Err(Exit::Failed.into()),
            _ => Ok(()),
        }
    }
}

/// A finding for people: a line, and what mends it on a line of its own.
fn describe(finding: &Finding) -> String {
    let Finding { check, state, message, mend } = finding;
    let state = match state {
        State::Ok => "ok",
        State::Warning => "warning",
        State::Problem => "problem",
    };
    let line = format!("{state:<9}{check:<15}{}", visible(message));
    mend.iter().fold(line, |line, mend| format!("{line}\n{:24}{}", "", visible(mend)))
}

pub(crate) async fn run(
    endpoint: Endpoint,
    is_named: bool,
    output: &Output,
    options: cli::Doctor,
) -> Result<(), Failure> {
    options.url.as_deref().map_or(Ok(()), proxy::check)?;
    let mut report = Report { output, has_problem: false };
    let place = Place::new(endpoint, is_named);
    let (daemon, finding) = place.ask().await;
    report.tell(&finding)?;
    for finding in place.permissions(&daemon).await {
        report.tell(&finding)?;
    }
    let (finding, listen) = configuration::check().await;
    report.tell(&finding)?;
    let service = service::Units::ask().await;
    if let Daemon::Answers(status) = &daemon {
        report.tell(&version::compare(
            env!("CARGO_PKG_VERSION"),
            status,
            service.as_ref().is_ok_and(service::Units::is_active),
        ))?;
    }
    for finding in port::look(&daemon, &listen, &place, service.as_ref().ok()) {
        report.tell(&finding)?;
    }
    for finding in service::look(service, &daemon).await {
        report.tell(&finding)?;
    }
    if let Daemon::Answers(status) = &daemon {
        for finding in health::look(status, &place) {
            report.tell(&finding)?;
        }
        report.tell(&clock::look(&place).await)?;
    }
    if let Some(url) = &options.url {
        let Daemon::Answers(status) = &daemon else {
            let what = format!("nothing was sent through {}: no daemon answers", proxy::shown(url));
            report.tell(&Finding::warning("url", what, place.start()))?;
            return report.end(&daemon);
        };
        let (finding, stream) = proxy::send(url, options.token_file.as_deref(), &place, status).await;
        report.tell(&finding)?;
        if let Some(stream) = stream {
            report.tell(&proxy::stays(stream).await)?;
        }
    }
    report.end(&daemon)
}

/// What a program says on stdout, and on stderr, and whether it has succeeded; nothing if it is not there or takes too
/// long.
async fn output_of(program: &mut Command) -> Option<(bool, String, String)> {
    let output = program.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(PATIENCE, output).await.ok()?.ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Some((output.status.success(), text(&output.stdout), text(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_a_line_for_a_finding_and_one_for_what_mends_it() {
        let finding = Finding::warning("origins", "pages of http://a\x1b[2J were refused", "sse-busd");
        assert_eq!(
            describe(&finding),
            "warning  origins        pages of http://a\u{241b}[2J were refused\n                        sse-busd"
        );
        assert_eq!(describe(&Finding::ok("clock", "right")), "ok       clock          right");
    }
}
