//! The report of `--check`: text for people, or a JSON object for programs such as `sse-busctl service`.

use serde::Serialize;
use sse_bus::flags::Check;

use super::error::ConfigError;

/// What a valid configuration amounts to.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The TCP addresses.
    pub(super) listen: Vec<String>,
    /// The path of the local socket.
    pub(super) socket: String,
    pub(super) state_dir: String,
    /// Probable mistakes.
    pub(super) warnings: Vec<String>,
}

/// What is wrong with a configuration.
#[derive(Serialize)]
struct Errors<'a> {
    errors: &'a [String],
}

/// The two streams of the program's output.
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Formats the result of checking a configuration. In JSON, everything is on stdout.
pub(crate) fn format(result: &Result<Report, ConfigError>, check: Check) -> Output {
    match (result, check) {
        (Ok(report), Check::Json) => json(report),
        (Err(error), Check::Json) => json(&Errors { errors: error.lines() }),
        (Ok(Report { listen, socket, state_dir, warnings }), _) => {
            let listen: String = listen.iter().flat_map(|address| ["listen     ", address, "\n"]).collect();
            let stdout = format!("the configuration is valid\n{listen}socket     {socket}\nstate_dir  {state_dir}\n");
            Output { stdout, stderr: prefixed(warnings) }
        }
        (Err(error), _) => Output { stdout: String::new(), stderr: prefixed(error.lines()) },
    }
}

fn json(value: &impl Serialize) -> Output {
    let mut line = Vec::new();
    sse_bus::protocol::json::encode(value, &mut line);
    Output { stdout: String::from_utf8_lossy(&line).into_owned(), stderr: String::new() }
}

/// Returns lines for stderr, each with the program's name.
pub(crate) fn prefixed(lines: &[String]) -> String {
    lines.iter().flat_map(|line| ["sse-busd: ", line, "\n"]).collect()
}
