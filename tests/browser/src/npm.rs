//! What tests use of npm: a folder here names it, and it is installed into the folder of the test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Copies one of our folders into the folder of a test, and installs there what it names. Nothing that comes with it is run.
///
/// # Panics
///
/// npm is missing, or cannot get it.
pub fn installed(name: &str, folder: &Path) -> PathBuf {
    let (from, to) = (Path::new(env!("CARGO_MANIFEST_DIR")).join(name), folder.join(name));
    fs::create_dir(&to).expect("the test's folder can be written to");
    for file in fs::read_dir(&from).expect("our folder is there") {
        let file = file.expect("it can be listed");
        fs::copy(file.path(), to.join(file.file_name())).expect("a file can be copied");
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]).current_dir(&to);
    let done = npm.stdin(Stdio::null()).output().expect("npm is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    to
}
