//! Paths in the configuration. `~` at their beginning is the user's home directory wherever they come from; in the file, which a
//! service manager reads in a directory of its own, relative paths and variables are refused.

use std::path::Path;

/// The keys whose values are paths.
pub(super) const KEYS: [&str; 9] =
    ["socket", "state_dir", "pages", "tls_cert", "tls_key", "credentials", "nkey", "password_file", "tls_ca"];

/// Returns what is wrong with a path in the file.
pub(super) fn mistake(path: &str) -> Option<&'static str> {
    let names_variable =
        path.split('$').skip(1).any(|rest| rest.starts_with(|c: char| c.is_alphabetic() || "_{".contains(c)));
    if names_variable {
        return Some(
            "variables are not expanded in this file; write the whole path, or begin it with ~/ for your home directory",
        );
    }
    let is_home = Path::new(path).starts_with("~");
    let is_whole = is_home || Path::new(path).has_root();
    (!is_whole).then_some("a path in this file must be absolute, or begin with ~/ for your home directory")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_whole_paths_are_accepted() {
        for path in ["/a", "~/a", "~", "/a/$", "/a/$5", "/a/~"] {
            assert_eq!(mistake(path), None, "{path}");
        }
        for path in ["$HOME/a", "/run/user/${UID}/a", "/a/$_b"] {
            assert!(mistake(path).unwrap().starts_with("variables"), "{path}");
        }
        for path in ["", "a", "./a", "~other/a", "a/~/b"] {
            assert!(mistake(path).unwrap().contains("must be absolute"), "{path}");
        }
    }
}
