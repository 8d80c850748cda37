//! What `--version` says beyond the number, the commit and the features of the build; and how it is linked.
//!
//! The commit is `SSE_BUS_COMMIT`, else the one that a package was made of, else, in release builds, what git says; a debug
//! build would be compiled anew after every commit. There is no date in it: the same commit builds the same binaries.

use std::{env, fs, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SSE_BUS_COMMIT");
    let given = env::var("SSE_BUS_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(of_package).or_else(of_git).map_or(String::new(), |commit| format!("{commit}; "));
    let features = ["bus", "client", "ctl", "daemon", "tls", "tokens"];
    let has = |feature: &&str| env::var_os(format!("CARGO_FEATURE_{}", feature.to_uppercase())).is_some();
    let features: Vec<_> = features.into_iter().filter(has).collect();
    let number = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rustc-env=SSE_BUS_VERSION={number} ({commit}features: {})", features.join(", "));
    if is_for_this_linux() {
        // Less of a daemon is resident: 0.2 MiB without relocations in the long form; and where segments begin at multiples
        // of the 64 KiB that the kernel maps around a page at once, it is not up to 0.4 MiB more by chance.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        println!("cargo::rustc-link-arg-bins=-Wl,-z,max-page-size=65536");
    }
}

/// Whether this is a release for the very machine, with a dynamic linker that knows relocations in the short form: that of
/// glibc does from 2.36 (<https://sourceware.org/glibc/wiki/Release/2.36>), and an older one would not start the program.
fn is_for_this_linux() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let is_native = env::var("HOST").is_ok_and(|host| is("TARGET", &host));
    if !is("PROFILE", "release")
        || !is_native
        || !is("CARGO_CFG_TARGET_OS", "linux")
        || !is("CARGO_CFG_TARGET_ENV", "gnu")
    {
        return false;
    }
    let version = told("getconf", &["GNU_LIBC_VERSION"]).unwrap_or_default();
    let minor = version.strip_prefix("glibc 2.").and_then(|minor| minor.parse::<u32>().ok());
    minor.is_some_and(|minor| minor >= 36)
}

/// `cargo package` writes it down.
fn of_package() -> Option<String> {
    let text = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = text.split_once("\"sha1\": \"")?;
    rest.get(..12).map(|commit| format!("commit {commit}"))
}

fn of_git() -> Option<String> {
    // The folder must be the repository itself: a copy may lie within another one.
    if env::var("PROFILE").is_ok_and(|profile| profile != "release") || !Path::new(".git").exists() {
        return None;
    }
    // It changes with every commit, and when another one is checked out.
    let log = told("git", &["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={log}");
    told("git", &["rev-parse", "--short=12", "HEAD"]).map(|commit| format!("commit {commit}"))
}

/// What a program says.
fn told(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
