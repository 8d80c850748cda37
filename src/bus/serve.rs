//! Serving what another bus [wants](super::fetch), from the history of this one: a bus in memory serves as the log whose
//! newest events are the window of the other one.

use std::ops::ControlFlow;

use super::{
    Bus, Now,
    fetch::{Fetched, LostRange, Wanted},
    history::{Entry, Selection},
};
use crate::{event::Event, limits::SCAN_MAX};

impl Bus {
    /// Reads what another bus with the same epoch wants: events of at most about `bytes`, unless the first is larger, and not
    /// more than one call of the bus may examine.
    pub fn serve(&mut self, wanted: &Wanted, bytes: usize, now: Now) -> Fetched {
        while self.is_behind() {
            self.expire_history(now);
        }
        let topics = self.topics.select(&wanted.filters);
        let mut after = wanted.seq.saturating_sub(1);
        if let Some(since) = wanted.since {
            let begin = now.mono.saturating_sub(now.unix.saturating_sub(since));
            after = after.max(self.history.last_before(begin).min(wanted.upto));
        }
        let (mut events, mut size, mut is_past) = (Vec::new(), 0, false);
        let mut visit = |entry: &Entry| {
            is_past = entry.seq > wanted.upto;
            if is_past || size >= bytes {
                return false;
            }
            size += entry.cost;
            events.extend(entry.event.as_deref().cloned());
            true
        };
        let reached = match wanted.snapshot {
            Some(kind) => {
                let range = (after, wanted.upto);
                self.history.snapshot(kind, &topics, range, now.mono, SCAN_MAX, &mut visit)
            }
            None => self.history.scan(&topics, after, now.mono, SCAN_MAX, &mut visit),
        };
        let upto = reached.filter(|_| !is_past).unwrap_or(wanted.upto).min(wanted.upto);
        let lost =
            if wanted.snapshot.is_some() { Vec::new() } else { self.lost_in(wanted, &topics, after, upto, &events) };
        Fetched { events, lost, losses_end: self.history.losses().end, from: wanted.seq, upto, ..Fetched::default() }
    }

    /// Returns the losses after `after` and up to `upto`, without the events of that range.
    fn lost_in(&self, wanted: &Wanted, topics: &Selection, after: u64, upto: u64, events: &[Event]) -> Vec<LostRange> {
        let known = self.history.losses();
        let is_new = wanted.losses_from == u64::MAX;
        let all = known.clone().filter(|_| !is_new).filter_map(|index| Some((index, self.history.lost(index)?)));
        let within = all.filter(|(_, lost)| lost.seq > after && lost.seq <= upto);
        let reported = within.filter(|(index, lost)| *index >= wanted.losses_from || lost.seq > wanted.uncertain_after);
        // Whether the event was of these topics is unknown if its own was removed.
        let mut lost: Vec<(u64, Option<u64>)> = reported
            .filter_map(|(index, lost)| match self.history.is_lost_of(lost, topics) {
                Some(true) => Some((lost.seq, (index >= wanted.losses_from).then_some(1))),
                Some(false) => None,
                None => Some((lost.seq, None)),
            })
            .collect();
        lost.sort_unstable();
        let mut ranges: Vec<LostRange> = Vec::new();
        let unrecorded = if wanted.losses_from < known.start { after } else { after.max(wanted.uncertain_after) };
        if known.start > 0
            && !is_new
            && unrecorded < upto
            && let Some(last) = self.earlier_loss(topics, unrecorded)
        {
            ranges.push(LostRange { from: unrecorded + 1, to: last.min(upto), missed: None });
        }
        for (seq, missed) in lost {
            match ranges.last_mut() {
                Some(range) if !events.iter().any(|event| (range.to..seq).contains(&event.id.seq)) => {
                    range.to = range.to.max(seq);
                    range.missed = range.missed.zip(missed).map(|(a, b)| a + b);
                }
                _ => ranges.push(LostRange { from: seq, to: seq, missed }),
            }
        }
        ranges
    }

    /// Returns the last loss of some topics after a sequence number that is not recorded one by one.
    fn earlier_loss(&self, topics: &Selection, after: u64) -> Option<u64> {
        let mut from = 0;
        loop {
            match self.history.earlier_loss(topics, after, from) {
                ControlFlow::Continue(next) => from = next,
                ControlFlow::Break(last) => return last,
            }
        }
    }
}
