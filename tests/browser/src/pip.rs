//! What tests use of PyPI: a folder here names it, and it is installed into the folder of the test.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Installs what one of our folders names into the folder of a test. Gives our folder, and where the packages are.
///
/// # Panics
///
/// pip is missing, or cannot get it.
pub fn installed(name: &str, folder: &Path) -> (PathBuf, PathBuf) {
    let (from, to) = (Path::new(env!("CARGO_MANIFEST_DIR")).join(name), folder.join(name));
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
    pip.arg("--requirement").arg(from.join("requirements.txt")).arg("--target").arg(&to);
    let done = pip.stdin(Stdio::null()).output().expect("Python is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    (from, to)
}
