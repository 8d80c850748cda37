//! Packages of npm, listed in a folder of this crate.

use std::{
    env::consts::ARCH,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use crate::packages::{installed_once, run};

/// Installs the packages that a folder of this crate lists. Returns the folder of the packages. Their install scripts
/// are not run.
///
/// # Panics
///
/// If npm is missing or fails.
pub fn packages(name: &str) -> PathBuf {
    let from = source(name);
    let folder = installed_once(name, &from.join("package-lock.json"), |folder| {
        for list in ["package.json", "package-lock.json"] {
            fs::copy(from.join(list), folder.join(list)).expect("a file can be copied");
        }
        let options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
        run(Command::new("npm").args(options).current_dir(folder));
    });
    folder.join("node_modules")
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Scripts in the folder of a test, beside the packages that they import.
pub struct Scripts {
    folder: PathBuf,
}

impl Scripts {
    /// Copies a folder of this crate into the folder of a test, and installs the packages that it lists.
    ///
    /// # Panics
    ///
    /// If npm is missing or fails.
    pub fn installed(name: &str, folder: &Path) -> Scripts {
        let folder = folder.join(name);
        fs::create_dir(&folder).expect("the test's folder can be written to");
        for file in fs::read_dir(source(name)).expect("the folder exists") {
            let file = file.expect("it can be listed");
            fs::copy(file.path(), folder.join(file.file_name())).expect("a file can be copied");
        }
        symlink(packages(name), folder.join("node_modules")).expect("a link can be created");
        Scripts { folder }
    }

    /// Adds a file beside the scripts.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn add(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).expect("the test's folder can be written to");
    }

    /// A command that runs one of the scripts. Node itself is one of the packages.
    pub fn node(&self, script: &str) -> Command {
        let platform = if ARCH == "aarch64" { "arm64" } else { "x64" };
        let program = format!("node_modules/node-linux-{platform}/bin/node");
        let mut node = Command::new(self.folder.join(program));
        node.args(["--experimental-eventsource", "--no-warnings", script]).current_dir(&self.folder);
        node
    }
}
