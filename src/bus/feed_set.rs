//! Sets of very many feeds: a bit for each key, so that 50,000 feeds take 6 KiB, and one is quickly found.

use super::ids::FeedKey;

const BITS: usize = u64::BITS as usize;

/// A set of feeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FeedSet(Box<[u64]>);

impl FeedSet {
    /// Returns the set of some feeds, which may be in any order.
    pub(super) fn new(feeds: &[FeedKey]) -> FeedSet {
        let end = feeds.iter().max().map_or(0, |last| last + 1);
        let mut words = vec![0; end.div_ceil(BITS)].into_boxed_slice();
        for feed in feeds {
            words[feed / BITS] |= 1 << (feed % BITS);
        }
        FeedSet(words)
    }

    /// Returns true if a feed is in the set.
    pub(super) fn contains(&self, feed: FeedKey) -> bool {
        self.0.get(feed / BITS).is_some_and(|word| word & (1 << (feed % BITS)) != 0)
    }

    /// Returns the first feed from a key on.
    pub(super) fn next_from(&self, feed: FeedKey) -> Option<FeedKey> {
        let begin = feed / BITS;
        let mut words = self.0.get(begin..)?.iter().enumerate();
        let first = words.next().map(|(_, word)| (0, word & (u64::MAX << (feed % BITS))));
        let rest = words.map(|(index, word)| (index, *word));
        let (index, word) = first.into_iter().chain(rest).find(|(_, word)| *word != 0)?;
        Some((begin + index) * BITS + word.trailing_zeros() as usize)
    }

    /// Returns the feeds in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = FeedKey> {
        let bits = |(index, word): (usize, &u64)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(index * BITS + bit)
            })
        };
        self.0.iter().enumerate().flat_map(bits)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn it_has_the_same_feeds_as_an_ordered_set(feeds in vec(0_usize..300, 0..40)) {
            let (set, expected) = (FeedSet::new(&feeds), feeds.iter().copied().collect::<BTreeSet<_>>());
            prop_assert!(set.iter().eq(expected.iter().copied()));
            for feed in 0..310 {
                prop_assert_eq!(set.contains(feed), expected.contains(&feed));
                prop_assert_eq!(set.next_from(feed), expected.range(feed..).next().copied());
            }
        }
    }
}
