//! Packages of PyPI and npm that tests use. A set is installed into Cargo's target directory, once for each version of
//! its list.

use std::{
    env,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Returns the folder of a set of packages. If it is not installed yet, `install` is called with an empty folder.
pub(crate) fn installed_once(kind: &str, list: &Path, install: impl FnOnce(&Path)) -> PathBuf {
    let program = env::current_exe().expect("a test knows its own program");
    let target = program.ancestors().nth(3).expect("Cargo puts tests into target/PROFILE/deps");
    let packages = target.join("tmp/packages");
    fs::create_dir_all(&packages).expect("Cargo's folder can be written to");

    let mut hasher = DefaultHasher::new();
    fs::read(list).unwrap_or_else(|e| panic!("{}: {e}", list.display())).hash(&mut hasher);
    let folder = packages.join(format!("{kind}-{:016x}", hasher.finish()));
    // Other tests may install the same set at the same time.
    let lock = File::create(packages.join(format!("{kind}.lock"))).expect("a file can be created");
    lock.lock().expect("it can be locked");
    if !folder.exists() {
        let fresh = tempfile::tempdir_in(&packages).expect("a folder can be created");
        install(fresh.path());
        fs::rename(fresh.keep(), &folder).expect("a folder can be renamed");
    }
    folder
}

/// Runs an installer.
///
/// # Panics
///
/// If it is missing or fails.
pub(crate) fn run(installer: &mut Command) {
    let done = installer.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{installer:?}: {e}"));
    assert!(done.status.success(), "{installer:?}: {}", String::from_utf8_lossy(&done.stderr));
}
