//! The order of events with one key.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use rustc_hash::FxHashMap;

use crate::event::Event;

/// The header that has the key.
const KEY: &str = "key";

/// The hash of a key.
pub(super) type KeyHash = u64;

/// Returns the hash of an event's key.
pub(super) fn key_of(event: &Event) -> Option<KeyHash> {
    let key = event.headers.get(KEY)?;
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    Some(hasher.finish())
}

/// The unfinished events of each key. One of them is active, and the others wait for it.
#[derive(Debug, Default)]
pub(super) struct Keys(FxHashMap<KeyHash, Key>);

#[derive(Debug)]
struct Key {
    active: u64,
    blocked: BTreeSet<u64>,
}

impl Keys {
    /// Adds an event. Returns true if no other event of its key is active.
    pub(super) fn begin(&mut self, key: KeyHash, seq: u64) -> bool {
        let known = self.0.entry(key).or_insert_with(|| Key { active: seq, blocked: BTreeSet::new() });
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
        self.0.clear();
    }
}

#[cfg(debug_assertions)]
impl Keys {
    /// Lists all events: key, number, and whether it is blocked.
    pub(super) fn self_check_list(&self) -> BTreeSet<(KeyHash, u64, bool)> {
        let of = |(key, known): (&KeyHash, &Key)| {
            let blocked = known.blocked.iter().map(|seq| (*key, *seq, true));
            blocked.chain([(*key, known.active, false)]).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }
}
