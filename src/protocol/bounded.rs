//! Lists in requests. A list that is too long is not stored in full, only enough of it to refuse it.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, de};

/// Reads a list to its end and stores at most one element more than `MOST`. This bounds memory: an empty string takes
/// one byte of a frame, but 24 bytes of memory.
pub(super) fn list<'de, D, T, const MOST: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct List<T, const MOST: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MOST: usize> de::Visitor<'de> for List<T, MOST> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut kept = Vec::new();
            while let Some(element) = list.next_element()? {
                if kept.len() <= MOST {
                    kept.push(element);
                }
            }
            Ok(kept)
        }
    }
    deserializer.deserialize_seq(List::<T, MOST>(PhantomData))
}
