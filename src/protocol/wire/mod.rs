//! What frames hold, in types that are frozen per version, with conversions from and to the protocol's own types.
//!
//! They borrow in both directions: what is encoded is not copied first, and what is decoded is copied once, into the type
//! that is used. A version takes from the one before what has not changed.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned},
    ser,
};

pub(super) mod v1;
pub(super) mod v2;

/// Bytes as they are. Without this type each of them would be written on its own.
pub(crate) struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes<'a>, D::Error> {
        Deserialize::deserialize(deserializer).map(Bytes)
    }
}

/// A value as JSON text, which may get fields that an earlier reader does not know.
pub(crate) struct Json<'a, T: Clone>(Cow<'a, T>);

impl<T: Clone + Serialize> Serialize for Json<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&serde_json::to_string(&*self.0).map_err(ser::Error::custom)?)
    }
}

impl<'de, T: Clone + DeserializeOwned> Deserialize<'de> for Json<'_, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        serde_json::from_str(text).map(|value| Json(Cow::Owned(value))).map_err(de::Error::custom)
    }
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

fn all_owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn all_borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
