//! What a subscriber of the model has: the parameters of its subscription, and a waker that counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Wake,
};

use sse_bus::{
    bus::Format,
    protocol::{Slow, sse::PositionForm},
};

/// Counts how often it is woken.
#[derive(Debug, Default)]
pub struct Counter(AtomicUsize);

impl Counter {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The parameters of a subscription except its start.
#[derive(Clone, Debug)]
pub struct Asked {
    pub filters: usize,
    pub format: Format,
    pub slow: Slow,
    pub name: Option<String>,
    pub past_only: bool,
    /// The reader that serves it while it is up to date.
    pub reader: Option<usize>,
}

impl Asked {
    /// Each form in turn; only streams have one.
    pub fn position_form(&self, turn: usize) -> PositionForm {
        let form = [PositionForm::Event, PositionForm::Id, PositionForm::None][turn % 3];
        if self.format.has_heartbeat() { form } else { PositionForm::None }
    }

    pub fn feed(&self) -> (usize, Format) {
        (self.filters, self.format)
    }
}
