//! The daemon's configuration, as the daemon reports it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One value of the daemon's current configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Setting {
    /// The key, as in the configuration file. Keys in tables are written `limits.topics` and `topics[0]`.
    pub key: String,
    /// The value, as the configuration file would contain it; null if there is none.
    pub value: Value,
    /// The source of the value: a flag such as `--listen`, a variable such as `SSE_BUS_LISTEN`, a position in a file
    /// such as `/path/config.toml:3:1`, `the service manager`, or `default`.
    pub source: String,
}

impl Setting {
    /// Returns a value with its key and its source.
    pub fn new(key: impl Into<String>, value: Value, source: impl Into<String>) -> Setting {
        Setting { key: key.into(), value, source: source.into() }
    }
}
