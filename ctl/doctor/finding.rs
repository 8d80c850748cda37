//! The results of checks, and how they are printed.

use std::io;

use serde::Serialize;

use crate::{
    output::Output,
    table::{LEFT, is_narrow, wrapped},
    units::count,
    visible::visible,
};

/// The result of a check.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) state: State,
    pub(super) message: String,
    /// How to fix it, as a command if possible. Only of a warning or a problem.
    pub(super) fix: Option<String>,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    /// The check has no access to its information.
    Unknown,
    Warning,
    Problem,
}

impl State {
    /// Returns the state as text, and the ANSI colour in which it is shown.
    fn describe(self) -> (&'static str, &'static str) {
        match self {
            State::Ok => ("ok", "\x1b[32m"),
            State::Unknown => ("unknown", "\x1b[36m"),
            State::Warning => ("warning", "\x1b[33m"),
            State::Problem => ("problem", "\x1b[31m"),
        }
    }
}

impl Finding {
    pub(super) fn ok(check: &'static str, message: impl Into<String>) -> Finding {
        Finding { check, state: State::Ok, message: message.into(), fix: None }
    }

    pub(super) fn unknown(check: &'static str, message: impl Into<String>) -> Finding {
        Finding { check, state: State::Unknown, message: message.into(), fix: None }
    }

    pub(super) fn warning(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { check, state: State::Warning, message: message.into(), fix: Some(fix.into()) }
    }

    pub(super) fn problem(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { check, state: State::Problem, message: message.into(), fix: Some(fix.into()) }
    }

    /// Returns a line for people, with the fix on a second line.
    fn describe(&self, has_colour: bool, width: Option<usize>) -> String {
        /// The column in which messages begin.
        const INDENT: usize = 24;
        let (state, colour) = self.state.describe();
        let (colour, plain) = if has_colour { (colour, "\x1b[0m") } else { ("", "") };
        let message = wrapped(&visible(&self.message), INDENT, width);
        let line = format!("{colour}{state:<9}{plain}{:<15}{message}", self.check);
        // Not wrapped, so that it can be copied.
        let indent = if is_narrow(INDENT, width) { LEFT } else { INDENT };
        self.fix.iter().fold(line, |line, fix| format!("{line}\n{:indent$}{}", "", visible(fix)))
    }
}

/// Prints findings as they are made.
pub(super) struct Report<'a> {
    output: &'a Output,
    states: Vec<State>,
}

impl Report<'_> {
    pub(super) fn new(output: &Output) -> Report<'_> {
        Report { output, states: Vec::new() }
    }

    pub(super) fn add(&mut self, finding: &Finding) -> io::Result<()> {
        self.states.push(finding.state);
        self.output.print(|| finding.describe(self.output.colour, self.output.width), finding)
    }

    pub(super) fn add_all(&mut self, findings: impl IntoIterator<Item = Finding>) -> io::Result<()> {
        findings.into_iter().try_for_each(|finding| self.add(&finding))
    }

    pub(super) fn has_problem(&self) -> bool {
        self.states.contains(&State::Problem)
    }

    /// Prints a line for people that sums up.
    pub(super) fn finish(&self) -> io::Result<()> {
        if !self.output.people() {
            return Ok(());
        }
        self.output.write(format!("\n{}\n", wrapped(&summary(&self.states), 0, self.output.width)).as_bytes())
    }
}

/// Returns a line that sums up the states.
fn summary(states: &[State]) -> String {
    let number = |state| states.iter().filter(|other| **other == state).count() as u64;
    let [ok, unknown, warnings, problems] = [State::Ok, State::Unknown, State::Warning, State::Problem].map(number);
    let verdict = match (problems, warnings) {
        (0, 0) => "everything is in order".into(),
        (0, warnings) => format!("the bus works, with {}", count(warnings, "warning")),
        (problems, 0) => format!("{} to fix", count(problems, "problem")),
        (problems, warnings) => format!("{} to fix, {}", count(problems, "problem"), count(warnings, "warning")),
    };
    let unknown = if unknown > 0 { format!(", {unknown} unknown") } else { String::new() };
    format!("{verdict} ({ok} of {} checks ok{unknown})", states.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_for_people_is_one_line_and_one_for_the_fix() {
        let finding = Finding::warning("origins", "pages of http://a\x1b[2J were refused", "sse-busd");
        assert_eq!(
            finding.describe(false, None),
            "warning  origins        pages of http://a\u{241b}[2J were refused\n                        sse-busd"
        );
        assert_eq!(Finding::ok("clock", "right").describe(false, None), "ok       clock          right");
        assert_eq!(
            Finding::unknown("service", "no manager").describe(true, None),
            "\x1b[36munknown  \x1b[0mservice        no manager"
        );
    }

    #[test]
    fn the_last_line_sums_up() {
        use State::{Ok, Problem, Unknown, Warning};
        assert_eq!(summary(&[Ok, Ok]), "everything is in order (2 of 2 checks ok)");
        assert_eq!(summary(&[Ok, Unknown]), "everything is in order (1 of 2 checks ok, 1 unknown)");
        assert_eq!(summary(&[Ok, Warning]), "the bus works, with 1 warning (1 of 2 checks ok)");
        assert_eq!(summary(&[Problem, Problem, Warning]), "2 problems to fix, 1 warning (0 of 3 checks ok)");
    }
}
