//! Packages of PyPI, listed in a folder of this crate.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::packages::{installed_once, run};

/// Installs the packages that a folder of this crate lists. Returns that folder, and the folder of the packages.
///
/// # Panics
///
/// If pip is missing or fails.
pub fn installed(name: &str) -> (PathBuf, PathBuf) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let list = source.join("requirements.txt");
    let packages = installed_once(name, &list, |folder| {
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action", "ignore"];
        run(Command::new("python3").args(pip).arg("--requirement").arg(&list).arg("--target").arg(folder));
    });
    (source, packages)
}
