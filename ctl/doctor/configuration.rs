//! Checks the daemon's configuration with `sse-busd --check=json`.

use std::{net::SocketAddr, path::PathBuf};

use sse_bus::shell::quoted;
use tokio::process::Command;

use super::{
    finding::Finding,
    program::{Output, output_of},
};
use crate::check_report::CheckReport;

/// Checks the configuration. Also returns the addresses at which a daemon would listen.
pub(super) async fn check() -> (Finding, Vec<SocketAddr>) {
    let check = "configuration";
    let program = daemon();
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

/// Returns the path of the daemon: in the directory of this program, otherwise from `PATH`.
fn daemon() -> PathBuf {
    let beside =
        std::env::current_exe().ok().map(|own| own.with_file_name(format!("sse-busd{}", std::env::consts::EXE_SUFFIX)));
    beside.filter(|beside| beside.exists()).unwrap_or_else(|| "sse-busd".into())
}

/// Returns the path of the configuration file.
pub(super) fn file() -> Option<PathBuf> {
    let given = std::env::var_os("SSE_BUS_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    given.or_else(|| Some(directories::ProjectDirs::from("", "", "sse-bus")?.config_dir().join("config.toml")))
}
