//! Publishes that were not stored, and that others of the same publisher must not overtake.

use std::collections::HashMap;

use parking_lot::Mutex;
use sse_bus::{
    limits::PUBLISHERS_MAX,
    protocol::{PublisherId, Sequence},
};

/// The first publish of each publisher that numbers them that was not stored. Later ones are refused until it is sent again, so that
/// they do not overtake it.
#[derive(Default)]
pub(super) struct FailedPublishes(Mutex<HashMap<PublisherId, u64>>);

impl FailedPublishes {
    /// Notes a publish that was not stored.
    pub(super) fn note(&self, sequence: Option<Sequence>) {
        let Some(Sequence { publisher, number }) = sequence else { return };
        let mut failed = self.0.lock();
        if failed.len() >= PUBLISHERS_MAX {
            failed.clear();
        }
        let first = failed.entry(publisher).or_insert(number);
        *first = number.min(*first);
    }

    /// Returns true unless an earlier publish of its publisher has to be sent first.
    pub(super) fn may_send(&self, sequence: Option<Sequence>) -> bool {
        let Some(Sequence { publisher, number }) = sequence else { return true };
        let mut failed = self.0.lock();
        let first = failed.get(&publisher).copied();
        if first == Some(number) {
            failed.remove(&publisher);
        }
        first.is_none_or(|first| number <= first)
    }
}
