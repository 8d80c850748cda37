//! The program of the daemon.

use std::path::PathBuf;

/// Returns the path of the daemon's program: in the directory of this program, otherwise its name, which is looked up in
/// `PATH`.
pub(crate) fn path() -> PathBuf {
    let beside =
        std::env::current_exe().ok().map(|own| own.with_file_name(format!("sse-busd{}", std::env::consts::EXE_SUFFIX)));
    beside.filter(|beside| beside.exists()).unwrap_or_else(|| "sse-busd".into())
}
