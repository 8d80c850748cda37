//! Checks the daemon's configuration with `sse-busd --check=json`.

use std::{net::SocketAddr, path::PathBuf};

use sse_bus::{protocol::Status, shell::quoted};
use tokio::process::Command;

use super::{
    finding::Finding,
    program::{Output, output_of},
};
use crate::{check_report::CheckReport, daemon_program};

/// Checks the configuration. Also returns the addresses at which a daemon would listen.
pub(super) async fn check() -> (Finding, Vec<SocketAddr>) {
    let check = "configuration";
    let program = daemon_program::path();
    let Some(Output { stdout, stderr, .. }) = output_of(Command::new(&program).arg("--check=json")).await else {
        let message = "not checked: sse-busd is neither in the directory of this sse-busctl nor in your PATH";
        return (Finding::warning(check, message, "command -v sse-busd"), Vec::new());
    };
    let errors = match CheckReport::parse(stdout.as_bytes()) {
        Some(CheckReport::Valid { listen, .. }) => {
            return (Finding::ok(check, "the configuration is valid (`sse-busd --check`)"), listen);
        }
        Some(CheckReport::Invalid { errors }) => errors.join("; "),
        // The program failed before it read the configuration.
        None => stderr.trim_start_matches("sse-busd: ").replace('\n', "; "),
    };
    let fix = match file() {
        Some(file) => format!("${{EDITOR:-vi}} {} && sse-busd --check", quoted(&file.to_string_lossy())),
        None => "sse-busd --check".into(),
    };
    (Finding::problem(check, errors, fix), Vec::new())
}

/// Returns the command that edits a setting of the running daemon, and makes the daemon read it.
pub(super) fn edit(daemon: &Status, setting: &str) -> String {
    match file() {
        Some(file) => {
            format!("${{EDITOR:-vi}} {} && kill -HUP {}   # {setting}", quoted(&file.to_string_lossy()), daemon.pid)
        }
        None => format!("kill -HUP {}   # after setting {setting}", daemon.pid),
    }
}

/// Returns the path of the configuration file.
fn file() -> Option<PathBuf> {
    let given = std::env::var_os("SSE_BUS_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    given.or_else(|| Some(directories::ProjectDirs::from("", "", "sse-bus")?.config_dir().join("config.toml")))
}
