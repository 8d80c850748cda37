//! A log elsewhere: a bus with the whole history, of which the bus under test has a window.

use std::{collections::VecDeque, sync::Arc};

use sse_bus::{
    bus::{
        Bus, Publication,
        fetch::{Fetched, Wanted},
    },
    protocol::{ErrorCode, Refused},
    retention::Retention,
};

use super::{Outcome, World};
use crate::model::ops::Setup;

/// Answers that stay in memory. Earlier ones are dropped, also before a subscriber has read them.
const KEPT: usize = 2;

/// One in this number of requests is refused first.
const REFUSED: u64 = 5;

/// Bytes of the events of one answer for each event of the log: about 15 answers have all of history.
const BYTES: u64 = 20;

/// The whole log.
pub(super) struct Whole {
    bus: Bus,
    answers: u64,
    kept: VecDeque<Arc<Fetched>>,
}

impl Whole {
    pub(super) fn new(setup: &Setup) -> Option<Whole> {
        setup.window.filter(|_| setup.on_disk.is_none())?;
        let (bus, _) = super::start(&Setup { window: None, ..setup.clone() });
        Some(Whole { bus, answers: 0, kept: VecDeque::new() })
    }
}

impl World {
    /// The bus with the whole history.
    pub(super) fn log_bus(&self) -> &Bus {
        self.whole.as_ref().map_or(&self.bus, |whole| &whole.bus)
    }

    /// The log evicts whenever the bus does.
    pub(super) fn whole_ticks(&mut self) {
        let now = self.now();
        if self.whole.is_some() {
            self.will_remove_expired();
        }
        if let Some(Whole { bus, .. }) = &mut self.whole {
            bus.tick(now);
            while bus.is_behind() {
                bus.tick(now);
            }
            self.removed_expired();
        }
    }

    pub(super) fn configure_whole(&mut self, retention: &Retention) {
        let now = self.now();
        if let Some(Whole { bus, .. }) = &mut self.whole {
            bus.configure(self.setup.limits.clone(), retention.clone(), now);
            self.whole_ticks();
        }
    }

    pub(super) fn publish_to_whole(&mut self, publication: Publication) -> Outcome {
        let now = self.now();
        if let Some(Whole { bus, .. }) = &mut self.whole {
            bus.publish(publication, None, now).map_err(|e| format!("expected no refusal by the log, saw {e}"))?;
            bus.finish().wake();
        }
        Ok(())
    }

    /// Answers a request, unless it is for an event on disk.
    pub(super) fn answer_from_whole(&mut self, wanted: &Wanted) -> bool {
        let now = self.now();
        let Some(Whole { bus, answers, kept }) = &mut self.whole else { return false };
        let Some(subscriber) = self.subscribers.iter_mut().find(|subscriber| subscriber.id == wanted.client) else {
            return true;
        };
        *answers += 1;
        let fetched = if answers.is_multiple_of(REFUSED) && !subscriber.asked.past_only {
            let refused = Some(Refused::new(ErrorCode::Unavailable, "the log cannot be read"));
            Fetched { from: wanted.seq, upto: wanted.seq, refused, ..Fetched::default() }
        } else {
            bus.serve(wanted, (BYTES * self.log.head()) as usize, now)
        };
        if wanted.losses_from == u64::MAX && wanted.snapshot.is_none() && fetched.refused.is_none() {
            // The history of a new subscription is what the log has at its first answer.
            let lost = (subscriber.start + 1..=wanted.upto).filter(|seq| self.log.is_gone(*seq));
            subscriber.excused.extend(lost);
        }
        let note = format!(
            "{} waits for {} to {} and is handed what is there up to {}{}",
            wanted.client,
            wanted.seq,
            wanted.upto,
            fetched.upto,
            if fetched.refused.is_some() { ", a refusal" } else { "" }
        );
        let fetched = Arc::new(fetched);
        self.bus.hand_over(wanted.client, Arc::downgrade(&fetched));
        kept.push_front(fetched);
        kept.truncate(KEPT);
        self.note(&note);
        true
    }
}
