//! Whether the daemon's configuration is valid, and where it would listen, as `sse-busd --check` says.

use std::{net::SocketAddr, path::PathBuf};

use tokio::process::Command;

use super::{Finding, output_of, quoted};

/// Whether it is sound; and then where a daemon would listen.
pub(super) async fn check() -> (Finding, Vec<SocketAddr>) {
    let check = "configuration";
    let program = daemon();
    let finding = match output_of(Command::new(&program).arg("--check")).await {
        Some((true, said, _)) => {
            let first = said.lines().next().unwrap_or_default();
            let listen = said.lines().filter_map(|line| line.strip_prefix("listen ")?.trim().parse().ok());
            return (Finding::ok(check, format!("{first}, says `sse-busd --check`")), listen.collect());
        }
        Some((false, _, said)) => {
            // A line for each mistake.
            let said =
                said.lines().map(|line| line.strip_prefix("sse-busd: ").unwrap_or(line)).collect::<Vec<_>>().join("; ");
            let mend = match file() {
                Some(file) => format!("${{EDITOR:-vi}} {} && sse-busd --check", quoted(&file.to_string_lossy())),
                None => "sse-busd --check".into(),
            };
            Finding::problem(check, said, mend)
        }
        None => {
            let what = "not looked at: sse-busd is neither beside this sse-busctl nor in your path";
            Finding::warning(check, what, "command -v sse-busd")
        }
    };
    (finding, Vec::new())
}

/// The daemon's program: the one that was installed with this one, else whichever is in the path.
fn daemon() -> PathBuf {
    let beside =
        std::env::current_exe().ok().map(|own| own.with_file_name(format!("sse-busd{}", std::env::consts::EXE_SUFFIX)));
    beside.filter(|beside| beside.exists()).unwrap_or_else(|| "sse-busd".into())
}

/// The file that the daemon reads.
pub(super) fn file() -> Option<PathBuf> {
    let said = std::env::var_os("SSE_BUS_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    said.or_else(|| Some(directories::ProjectDirs::from("", "", "sse-bus")?.config_dir().join("config.toml")))
}
