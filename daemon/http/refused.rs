//! The origins whose pages were refused lately, so that `sse-busctl status` can say what a page lacks.

use std::sync::{Mutex, PoisonError};

use sse_bus::protocol::RefusedOrigin;

use crate::shared::unix_now;

/// As many as are remembered; those that were refused longest ago are forgotten first.
const REMEMBERED: usize = 8;

/// The origins, the newest first.
#[derive(Default)]
pub(crate) struct RefusedOrigins(Mutex<Vec<RefusedOrigin>>);

impl RefusedOrigins {
    /// Notes that a page was refused.
    pub(super) fn note(&self, origin: &str) {
        let mut origins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut noted = match origins.iter().position(|noted| noted.origin == origin) {
            Some(found) => origins.remove(found),
            None => RefusedOrigin { origin: origin.to_owned(), ..RefusedOrigin::default() },
        };
        (noted.times, noted.last) = (noted.times + 1, unix_now());
        origins.insert(0, noted);
        origins.truncate(REMEMBERED);
    }

    /// Those that are remembered, the newest first.
    pub(crate) fn list(&self) -> Vec<RefusedOrigin> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
