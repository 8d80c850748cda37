//! Reads of subscribers.

use std::{collections::BTreeSet, task::Waker};

use sse_bus::{
    bus::{Framing, Read},
    limits::SCAN_MAX,
    protocol::Slow,
};

use super::{Outcome, World};
use crate::model::{
    ops::FILTERS,
    subscriber::Subscriber,
    wire::{self, Item},
};

impl World {
    /// One read. Returns true if there may be more.
    pub(super) fn read(&mut self, who: usize) -> Result<bool, String> {
        let now = self.now();
        let subscriber = &mut self.subscribers[who];
        let id = subscriber.id;
        let waker = Waker::from(subscriber.wakes.clone());
        let mut out = Vec::new();
        let was_behind = self.bus.is_behind();
        let read = self.bus.read(id, now, &waker, &mut out);
        self.bytes_read += out.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        let framing = subscriber.asked.reader.map_or(Framing::Plain, |reader| self.readers[reader].framing);
        let bytes = wire::unframed(framing, &out.concat())?;
        let items = wire::parse(subscriber.asked.format, &bytes)?;
        self.note(&format!("{id} reads {} bytes, {read:?}{}", bytes.len(), shown(&items)));
        if was_behind {
            self.refresh()?;
        }
        let hidden = if was_behind { self.stale().collect() } else { BTreeSet::new() };
        self.subscribers[who].hidden = hidden;
        self.take(who, &items)?;
        let subscriber = &mut self.subscribers[who];
        subscriber.waiting = None;
        match read {
            // A read without bytes has scanned a bounded part of a long history or of losses, or waits for an eviction.
            // eviction.
            Read::Ready if bytes.is_empty() && !was_behind && self.log.head() <= SCAN_MAX as u64 => {
                Err(format!("{id}: expected bytes from a read that is ready"))
            }
            Read::Ready => Ok(true),
            Read::Fetching if self.hand_over(who)? => Ok(true),
            Read::Fetching => Err(format!("{id}: expected a request for what is not in memory")),
            Read::Waiting if self.bus.has_wanted() => Err(format!("{id}: expected no request for events")),
            Read::Waiting => {
                let subscriber = &mut self.subscribers[who];
                subscriber.waiting = Some(subscriber.wake_count());
                self.check_drained(who)?;
                Ok(false)
            }
            Read::Ended => {
                let ends = items.iter().filter(|item| matches!(item, Item::End { .. })).count();
                if ends != usize::from(self.subscribers[who].asked.past_only) {
                    return Err(format!("{id}: expected one end after a read of history, saw {ends}"));
                }
                self.over(who)?;
                Ok(false)
            }
        }
    }

    /// Applies the items of a read to a subscriber.
    pub(super) fn take(&mut self, who: usize, items: &[Item]) -> Outcome {
        let subscriber = &mut self.subscribers[who];
        for item in items {
            subscriber.take(item, &self.log).map_err(|expected| {
                let Subscriber { id, asked, .. } = &*subscriber;
                format!("{id} {}: expected {expected}, saw {item:.200?}", FILTERS[asked.filters].join(" "))
            })?;
        }
        Ok(())
    }

    pub(super) fn check_drained(&mut self, who: usize) -> Outcome {
        let subscriber = &mut self.subscribers[who];
        let id = subscriber.id;
        subscriber.drained(&self.log).map_err(|expected| {
            format!(
                "{id} {}: expected {expected}, saw nothing more to read",
                FILTERS[subscriber.asked.filters].join(" ")
            )
        })
    }

    /// Records that a read has ended a subscription.
    fn over(&mut self, who: usize) -> Outcome {
        let subscriber = &self.subscribers[who];
        let (id, behind) = (subscriber.id, subscriber.behind(&self.log));
        if subscriber.asked.past_only {
            self.check_drained(who)?;
        } else if subscriber.asked.slow != Slow::Disconnect || behind == 0 {
            return Err(format!("{id}: expected no end; {behind} events behind"));
        }
        self.gone(who);
        self.refresh()
    }

    pub(super) fn drain(&mut self, who: usize) -> Outcome {
        for _ in 0..100_000 {
            if !self.read(who)? {
                return Ok(());
            }
        }
        Err(format!("expected an end, saw {} reads that were ready", 100_000))
    }

    /// Every connected subscriber reads until there is nothing more.
    pub(super) fn drain_all(&mut self) -> Outcome {
        for who in 0..self.subscribers.len() {
            if self.subscribers[who].connected {
                self.drain(who)?;
                self.finish()?;
            }
        }
        Ok(())
    }
}

/// A readable form of the items.
pub(super) fn shown(items: &[Item]) -> String {
    let mut shown: String = items.iter().flat_map(|item| ["\n    ".to_owned(), format!("{item:.60?}")]).collect();
    if let Some((end, _)) = shown.char_indices().nth(4000) {
        shown.replace_range(end.., "…");
    }
    shown
}
