//! The data of events in requests.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

/// The data of an event in a request. It is bytes in the binary codec, and the daemon checks that they are UTF-8, so
/// that invalid data is answered with an error instead of ending the connection.
///
/// In JSON a string stands for its content, and any other value for its JSON text as written. Deserializing therefore
/// needs the original JSON text: `serde_json` can read it from text, but not from a [`serde_json::Value`] or within
/// `#[serde(flatten)]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload(pub Vec<u8>);

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload(bytes)
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Payload {
        Payload(text.into_bytes())
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Payload {
        Payload(text.into())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(&self.0))
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Payload, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        if !json.get().starts_with('"') {
            return Ok(json.get().into());
        }
        serde_json::from_str::<String>(json.get()).map(Payload::from).map_err(|e| {
            // Omit the position within the string; the decoder of the line adds the one in the line.
            let what = e.to_string();
            de::Error::custom(format_args!("{} in the data", what.split(" at line ").next().unwrap_or_default()))
        })
    }
}
