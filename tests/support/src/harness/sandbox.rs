//! A folder for one test, and the programs of the bus as they start there.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{Process, Run, program};

/// The variable by which daemons with the feature `delayed-log` use a log elsewhere; its value is the delay in milliseconds.
const DELAYED_LOG: &str = "SSE_BUS_DELAYED_LOG";

/// A folder, and commands that use it as home, runtime, configuration and state directory.
pub struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    pub fn new() -> Sandbox {
        Sandbox { folder: tempfile::Builder::new().prefix("sse-bus-").tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("run/bus.sock")
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }

    /// A command without the user's own environment. A log that the tests run with is kept, see [`DELAYED_LOG`].
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let is_own = |name: &str| name.starts_with("SSE_BUS_") && name != DELAYED_LOG;
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_own(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command.env_remove("RUST_LOG").current_dir(self.folder.path());
        for name in ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
            command.env(name, self.folder.path());
        }
        command
    }

    /// `sse-busd`, not started.
    pub fn busd(&self) -> Command {
        self.command(&program("sse-busd"))
    }

    /// Runs `sse-busd` to its end, with the default flags; for daemons that cannot start.
    pub fn busd_fails(&self, flags: &[&str]) -> Run {
        let mut busd = self.busd();
        busd.arg("--no-config").args(flags);
        Process::start(busd).finish()
    }

    /// `sse-busctl` for the daemon in this folder.
    pub fn busctl<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Command {
        let mut busctl = self.command(&program("sse-busctl"));
        busctl.env("SSE_BUS_SOCKET", self.socket()).args(args);
        busctl
    }

    /// All files with their sizes.
    pub fn listing(&self) -> String {
        fn walk(folder: &Path, out: &mut String) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let size = entry.metadata().map_or(0, |data| data.len());
                let _ = writeln!(out, "  {} ({size} bytes)", entry.path().display());
                walk(&entry.path(), out);
            }
        }
        let mut out = String::new();
        walk(self.folder.path(), &mut out);
        out
    }
}
