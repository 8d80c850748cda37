//! The results of checks, and how they are printed.

use std::io;

use serde::Serialize;

use crate::{output::Output, visible::visible};

/// The result of a check.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) state: State,
    pub(super) message: String,
    /// How to fix it, as a command if possible. `None` only if the state is [`State::Ok`].
    pub(super) fix: Option<String>,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    Warning,
    Problem,
}

impl Finding {
    pub(super) fn ok(check: &'static str, message: impl Into<String>) -> Finding {
        Finding { check, state: State::Ok, message: message.into(), fix: None }
    }

    pub(super) fn warning(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { check, state: State::Warning, message: message.into(), fix: Some(fix.into()) }
    }

    pub(super) fn problem(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { check, state: State::Problem, message: message.into(), fix: Some(fix.into()) }
    }

    /// Returns a line for people, with the fix on a second line.
    fn describe(&self) -> String {
        let state = match self.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Problem => "problem",
        };
        let line = format!("{state:<9}{:<15}{}", self.check, visible(&self.message));
        self.fix.iter().fold(line, |line, fix| format!("{line}\n{:24}{}", "", visible(fix)))
    }
}

/// Prints findings as they are made.
pub(super) struct Report<'a> {
    output: &'a Output,
    pub(super) has_problem: bool,
}

impl Report<'_> {
    pub(super) fn new(output: &Output) -> Report<'_> {
        Report { output, has_problem: false }
    }

    pub(super) fn add(&mut self, finding: &Finding) -> io::Result<()> {
        self.has_problem |= finding.state == State::Problem;
        self.output.print(|| finding.describe(), finding)
    }

    pub(super) fn add_all(&mut self, findings: impl IntoIterator<Item = Finding>) -> io::Result<()> {
        findings.into_iter().try_for_each(|finding| self.add(&finding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_for_people_is_one_line_and_one_for_the_fix() {
        let finding = Finding::warning("origins", "pages of http://a\x1b[2J were refused", "sse-busd");
        assert_eq!(
            finding.describe(),
            "warning  origins        pages of http://a\u{241b}[2J were refused\n                        sse-busd"
        );
        assert_eq!(Finding::ok("clock", "right").describe(), "ok       clock          right");
    }
}
