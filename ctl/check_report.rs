//! The report of `sse-busd --check=json`, which `service` and `doctor` run.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

/// The result of checking a configuration.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum CheckReport {
    /// What a valid configuration amounts to.
    Valid {
        listen: Vec<SocketAddr>,
        socket: PathBuf,
        state_dir: PathBuf,
    },
    Invalid {
        errors: Vec<String>,
    },
}

impl CheckReport {
    /// Parses the output. Returns `None` if the program failed for another reason, or if it is of another version.
    pub(crate) fn parse(stdout: &[u8]) -> Option<CheckReport> {
        serde_json::from_slice(stdout).ok()
    }
}
