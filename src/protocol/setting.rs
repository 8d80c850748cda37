//! The daemon's configuration, as it tells it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One value of the daemon's configuration, as it counts now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The key, as in the configuration file; `limits.topics` and `topics[0]` for those of its tables.
    pub key: String,
    /// The value, as the file would have it; null if there is none.
    #[serde(with = "in_any_codec")]
    pub value: Value,
    /// Where it comes from: a flag such as `--listen`, a variable such as `SSE_BUS_LISTEN`, a place such as
    /// `/path/config.toml:3:1`, `the service manager`, or `default`.
    pub source: String,
}

/// The binary codec has no values of any kind; it gets the JSON text.
mod in_any_codec {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
    use serde_json::Value;

    pub(super) fn serialize<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { value.serialize(serializer) } else { serializer.collect_str(value) }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        if deserializer.is_human_readable() {
            return Value::deserialize(deserializer);
        }
        serde_json::from_str(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
