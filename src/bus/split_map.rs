//! A hash map whose calls never do much work.
//!
//! A full map of the standard library moves all of its entries into a larger table, within one insertion: with the filters of
//! 50,000 subscribers that took 20 ms. A [`SplitMap`] with many entries consists of [`PARTS`] tables, chosen by some bits of the
//! hash, each of which grows by itself and so moves one of [`PARTS`] entries.

use std::{
    borrow::Borrow,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
};

use hashbrown::{HashTable, hash_table::Entry};
use rustc_hash::FxBuildHasher;

/// Number of tables of a large map.
const PARTS: usize = 256;
/// The number of entries with which a map is split, which moves all of them.
const SPLIT_AT: usize = if cfg!(debug_assertions) { 4 } else { 512 };

/// A map from keys that strangers may choose.
pub(super) struct SplitMap<K, V, S = RandomState> {
    tables: Tables<(K, V)>,
    hasher: S,
}

/// A map from keys that the bus chooses.
pub(super) type FxSplitMap<K, V> = SplitMap<K, V, FxBuildHasher>;

enum Tables<T> {
    One(HashTable<T>),
    Many { tables: Box<[HashTable<T>]>, len: usize },
}

impl<T> Tables<T> {
    /// Returns the table of a hash. Within a table, the entry is found by its lowest and its highest bits.
    fn of(&self, hash: u64) -> &HashTable<T> {
        match self {
            Tables::One(table) => table,
            Tables::Many { tables, .. } => &tables[part_of(hash)],
        }
    }

    fn of_mut(&mut self, hash: u64) -> &mut HashTable<T> {
        match self {
            Tables::One(table) => table,
            Tables::Many { tables, .. } => &mut tables[part_of(hash)],
        }
    }

    fn all(&self) -> &[HashTable<T>] {
        match self {
            Tables::One(table) => std::slice::from_ref(table),
            Tables::Many { tables, .. } => tables,
        }
    }

    fn all_mut(&mut self) -> &mut [HashTable<T>] {
        match self {
            Tables::One(table) => std::slice::from_mut(table),
            Tables::Many { tables, .. } => tables,
        }
    }

    fn added(&mut self) {
        if let Tables::Many { len, .. } = self {
            *len += 1;
        }
    }

    /// Notes that some entries were removed. The memory of a large map is freed with the last one.
    fn removed(&mut self, count: usize) {
        if let Tables::Many { len, .. } = self {
            *len -= count;
            if *len == 0 {
                *self = Tables::One(HashTable::new());
            }
        }
    }
}

fn part_of(hash: u64) -> usize {
    (hash >> 16) as usize % PARTS
}

impl<K, V, S: Default> Default for SplitMap<K, V, S> {
    fn default() -> SplitMap<K, V, S> {
        SplitMap { tables: Tables::One(HashTable::new()), hasher: S::default() }
    }
}

impl<K, V, S> SplitMap<K, V, S> {
    pub(super) fn len(&self) -> usize {
        match &self.tables {
            Tables::One(table) => table.len(),
            Tables::Many { len, .. } => *len,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the entries, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.tables.all().iter().flatten().map(|(key, value)| (key, value))
    }

    #[cfg(debug_assertions)]
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// Removes at most `most` entries, and passes each value to `removed`. Returns the number of entries.
    pub(super) fn remove_some(&mut self, most: usize, mut removed: impl FnMut(V)) -> usize {
        let tables = self.tables.all_mut().iter_mut().filter(|table| !table.is_empty());
        let mut count = 0;
        for (_, value) in tables.flat_map(|table| table.extract_if(|_| true)).take(most) {
            removed(value);
            count += 1;
        }
        self.tables.removed(count);
        count
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> SplitMap<K, V, S> {
    pub(super) fn get_key_value<Q>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        self.tables.of(hash).find(hash, |(known, _)| known.borrow() == key).map(|(key, value)| (key, value))
    }

    pub(super) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    pub(super) fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key).is_some()
    }

    pub(super) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        self.tables.of_mut(hash).find_mut(hash, |(known, _)| known.borrow() == key).map(|(_, value)| value)
    }

    /// Adds an entry. Returns the value that the key had.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let mut value = Some(value);
        let known = self.get_or_insert_with(key, || value.take().expect("called once"));
        value.map(|value| std::mem::replace(known, value))
    }

    /// Returns the value of a key, and adds it if there is none.
    pub(super) fn get_or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        self.split();
        let hash = self.hasher.hash_one(&key);
        if self.tables.of(hash).find(hash, |(known, _)| *known == key).is_none() {
            self.tables.added();
        }
        let hasher = |(known, _): &(K, V)| self.hasher.hash_one(known);
        match self.tables.of_mut(hash).entry(hash, |(known, _)| *known == key, hasher) {
            Entry::Occupied(entry) => &mut entry.into_mut().1,
            Entry::Vacant(entry) => &mut entry.insert((key, value())).into_mut().1,
        }
    }

    pub(super) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let entry = self.tables.of_mut(hash).find_entry(hash, |(known, _)| known.borrow() == key).ok()?;
        let ((_, value), _) = entry.remove();
        self.tables.removed(1);
        Some(value)
    }

    /// Splits a map that has become large.
    fn split(&mut self) {
        let Tables::One(table) = &mut self.tables else { return };
        if table.len() < SPLIT_AT {
            return;
        }
        let mut tables: Box<[HashTable<(K, V)>]> = (0..PARTS).map(|_| HashTable::new()).collect();
        let len = table.len();
        let hasher = |(key, _): &(K, V)| self.hasher.hash_one(key);
        for entry in std::mem::take(table) {
            let hash = hasher(&entry);
            tables[part_of(hash)].insert_unique(hash, entry, hasher);
        }
        self.tables = Tables::Many { tables, len };
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for SplitMap<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn it_has_the_entries_of_an_ordered_map(steps in vec((0_u8..4, 0_u16..40, any::<u8>()), 0..200)) {
            let (mut map, mut expected) = (FxSplitMap::default(), BTreeMap::new());
            for (step, key, value) in steps {
                match step {
                    0 => prop_assert_eq!(map.insert(key, value), expected.insert(key, value)),
                    1 => prop_assert_eq!(map.get_or_insert_with(key, || value), expected.entry(key).or_insert(value)),
                    2 => prop_assert_eq!(map.remove(&key), expected.remove(&key)),
                    _ => {
                        let mut removed = Vec::new();
                        let count = map.remove_some(usize::from(value % 3), |value| removed.push(value));
                        prop_assert_eq!(count, removed.len());
                        prop_assert_eq!(count, usize::from(value % 3).min(expected.len()));
                        expected.retain(|key, _| map.contains_key(key));
                    }
                }
                prop_assert_eq!(map.get(&key), expected.get(&key));
                prop_assert_eq!((map.len(), map.is_empty()), (expected.len(), expected.is_empty()));
                let entries: BTreeMap<_, _> = map.iter().map(|(key, value)| (*key, *value)).collect();
                prop_assert_eq!(&entries, &expected);
            }
        }
    }
}
