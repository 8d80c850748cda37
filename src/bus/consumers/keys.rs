//! The order of events with one key.

use std::collections::BTreeSet;

use crate::{bus::split_map::FxSplitMap, event::Event};

/// The header that has the key.
const KEY: &str = "key";

/// The hash of a key: FNV-1a, since hashes on disk must be the same in all versions.
pub(super) type KeyHash = u64;

/// Returns the hash of an event's key.
pub(super) fn key_of(event: &Event) -> Option<KeyHash> {
    event.headers.get(KEY).map(hash)
}

fn hash(key: &str) -> KeyHash {
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    key.bytes().fold(0xcbf2_9ce4_8422_2325, add)
}

/// The unfinished events of each key. One of them is active, and the others wait for it.
#[derive(Debug, Default)]
pub(super) struct Keys(FxSplitMap<KeyHash, Key>);

#[derive(Debug)]
struct Key {
    active: u64,
    blocked: BTreeSet<u64>,
}

impl Keys {
    /// Adds an event. Returns true if no other event of its key is active.
    pub(super) fn begin(&mut self, key: KeyHash, seq: u64) -> bool {
        let known = self.0.get_or_insert_with(key, || Key { active: seq, blocked: BTreeSet::new() });
        if known.active != seq {
            known.blocked.insert(seq);
        }
        known.active == seq
    }

    /// Removes an event. Returns the event that becomes active.
    pub(super) fn end(&mut self, key: KeyHash, seq: u64) -> Option<u64> {
        let known = self.0.get_mut(&key)?;
        if known.active != seq {
            known.blocked.remove(&seq);
            return None;
        }
        let next = known.blocked.pop_first();
        match next {
            Some(next) => known.active = next,
            None => drop(self.0.remove(&key)),
        }
        next
    }

    pub(super) fn clear(&mut self) {
        self.0 = FxSplitMap::default();
    }
}

#[cfg(debug_assertions)]
impl Keys {
    /// Lists all events: key, sequence number, and whether it is blocked.
    pub(super) fn self_check_list(&self) -> BTreeSet<(KeyHash, u64, bool)> {
        let of = |(key, known): (&KeyHash, &Key)| {
            let blocked = known.blocked.iter().map(|seq| (*key, *seq, true));
            blocked.chain([(*key, known.active, false)]).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_of_a_key_never_changes() {
        assert_eq!(super::hash("foobar"), 0x8594_4171_f739_67e8, "the value in the definition of FNV-1a");
    }
}
