//! The daemon's configuration, as it tells it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One value of the daemon's configuration, as it counts now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Setting {
    /// The key, as in the configuration file; `limits.topics` and `topics[0]` for those of its tables.
    pub key: String,
    /// The value, as the file would have it; null if there is none.
    pub value: Value,
    /// Where it comes from: a flag such as `--listen`, a variable such as `SSE_BUS_LISTEN`, a place such as
    /// `/path/config.toml:3:1`, `the service manager`, or `default`.
    pub source: String,
}

impl Setting {
    /// A value by its key.
    pub fn new(key: impl Into<String>, value: Value, source: impl Into<String>) -> Setting {
        Setting { key: key.into(), value, source: source.into() }
    }
}
