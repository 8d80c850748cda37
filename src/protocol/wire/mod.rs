//! The content of frames, in types that are frozen per version, with conversions from and to the types of the protocol.
//!
//! The types borrow in both directions: encoding copies nothing first, and decoding copies once, into the type of the
//! protocol. A version reuses the unchanged types of the previous one.

#![allow(clippy::struct_field_names, reason = "fields have the names of the protocol's types")]

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned},
    ser,
};

pub(super) mod v1;
pub(super) mod v2;

/// Bytes that are encoded as a block. Without this type serde would encode each byte as an element.
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

/// A value as JSON text, which can gain fields that earlier readers ignore.
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
