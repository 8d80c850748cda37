//! The bounds of history, implemented as simply as possible: which events of each topic must be evicted, and which not.

use std::collections::{BTreeSet, HashMap};

use sse_bus::{
    bus::history::Entry,
    protocol::TopicInfo,
    retention::{Retention, TopicRule},
};

use super::{Outcome, World};
use crate::{matching::matches, model::log::Sent};

/// The state of evictions.
#[derive(Default)]
pub(super) struct Bounds {
    /// The number of evicted events of each topic at the last check. It never falls.
    gone: HashMap<String, usize>,
    /// When the bus last evicted by age.
    looked: u64,
}

/// The bounds of one topic.
struct Bound {
    events: usize,
    bytes: usize,
    age: u64,
}

impl Bound {
    fn of(retention: &Retention, topic: &str) -> Bound {
        let matching = |rule: &&TopicRule| rule.filters.iter().any(|filter| matches(filter.as_str(), topic));
        let rule = retention.rules.iter().find(matching);
        let or = |own: Option<usize>, general| own.unwrap_or(general);
        Bound {
            events: or(rule.and_then(|rule| rule.events), retention.events),
            bytes: or(rule.and_then(|rule| rule.bytes), retention.bytes),
            age: rule.and_then(|rule| rule.age).unwrap_or(retention.age).as_millis() as u64,
        }
    }
}

impl World {
    /// Records that the bus has just evicted by age.
    pub(super) fn looked(&mut self) {
        self.bounds.looked = self.log.now;
        self.whole_ticks();
    }

    /// Records that the bus and the log have just evicted by age for a new event. Expired events stay until the next tick of
    /// both.
    pub(super) fn made_room(&mut self) {
        self.bounds.looked = self.log.now;
        if self.whole.is_some() && self.log_bus().is_behind() {
            self.whole_ticks();
        }
    }

    /// Records the evictions so far, before the log removes its expired events: until then they count for its bounds.
    pub(super) fn will_remove_expired(&mut self) {
        let infos: HashMap<String, usize> =
            self.log_bus().topics(self.now()).into_iter().map(|info| (info.topic, info.events as usize)).collect();
        let gone =
            |(topic, seqs): (&String, &Vec<u64>)| (topic.clone(), seqs.len() - infos.get(topic).copied().unwrap_or(0));
        self.bounds.gone = self.log.by_topic.iter().map(gone).collect();
    }

    /// Records that the log has just removed its expired events.
    pub(super) fn removed_expired(&mut self) {
        let gone = &self.bounds.gone;
        self.log.remove_expired(|topic| gone.get(topic).copied().unwrap_or(0));
    }

    /// Applies other bounds from now on.
    pub(super) fn configure(&mut self, retention: &Retention) -> Outcome {
        self.bus.configure(self.setup.limits.clone(), retention.clone(), self.now());
        self.configure_whole(retention);
        // The bus evicts by age when something changes; until then expired events stay.
        if self.setup.retention == *retention {
            return self.refresh();
        }
        self.setup.retention = retention.clone();
        self.looked();
        self.refresh()?;
        // Wider bounds include events again that were not evicted yet.
        let stale: BTreeSet<u64> = self.stale().collect();
        self.subscribers.iter_mut().for_each(|subscriber| subscriber.stale.retain(|seq| stale.contains(seq)));
        Ok(())
    }

    /// The number of events of a topic that are outside of its bounds at a time, or were evicted before.
    fn beyond(&self, topic: &str, time: u64) -> usize {
        let seqs = self.log.by_topic.get(topic).map_or(&[][..], Vec::as_slice);
        let (bound, mut bytes) = (Bound::of(&self.setup.retention, topic), 0);
        let is_within = |event: &&Sent| {
            let (data, kind) = (event.data.as_ref().map_or(0, String::len), event.kind.as_ref().map_or(0, String::len));
            bytes += Entry::cost_of(data, kind, event.headers.as_lines().len());
            bytes <= bound.bytes && event.came + bound.age >= time
        };
        let gone = self.bounds.gone.get(topic).copied().unwrap_or(0);
        let newest_first = seqs[gone..].iter().rev().take(bound.events).filter_map(|seq| self.log.get(*seq));
        seqs.len() - newest_first.take_while(is_within).count()
    }

    /// The events that are outside of their bounds, and not retained.
    pub(super) fn stale(&self) -> impl Iterator<Item = u64> {
        let beyond = |(topic, seqs): (&String, &Vec<u64>)| seqs[..self.beyond(topic, self.log.now)].to_vec();
        let all = self.log.by_topic.iter().flat_map(beyond);
        all.filter(|seq| self.log.retained.get(self.log.topic(*seq)) != Some(seq))
    }

    /// Checks the events that the bus reports of each topic.
    pub(super) fn check_bounds(&mut self, infos: &[TopicInfo]) -> Outcome {
        let (is_behind, now) = (self.log_bus().is_behind(), self.log.now);
        let retention = &self.setup.retention;
        let status = self.log_bus().status();
        if !is_behind && status.history_bytes > retention.budget as u64 {
            return Err(format!("expected history within its budget, saw {status:?}"));
        }
        let sum = |of: fn(&TopicInfo) -> u64| infos.iter().map(of).sum::<u64>();
        let sums = [sum(|info| info.events), sum(|info| info.bytes), infos.len() as u64];
        if [status.history_events, status.history_bytes, status.topics] != sums {
            return Err(format!("expected events, bytes and topics to be {sums:?} in {status:?}"));
        }
        let infos: HashMap<&str, &TopicInfo> = infos.iter().map(|info| (&*info.topic, info)).collect();
        let mut all_gone = HashMap::new();
        for (topic, seqs) in &self.log.by_topic {
            let (have, bytes) = infos.get(&**topic).map_or((0, 0), |info| (info.events as usize, info.bytes as usize));
            let bound = Bound::of(retention, topic);
            let gone = seqs.len() - have;
            let is_exact = retention.budget == usize::MAX;
            let least = if is_behind {
                self.bounds.gone.get(topic).copied().unwrap_or(0)
            } else {
                self.beyond(topic, self.bounds.looked)
            };
            let most = if is_exact { self.beyond(topic, now) } else { seqs.len() };
            if gone < least || gone > most {
                return Err(format!(
                    "expected {least} to {most} of the {} events of {topic} to be evicted, saw {gone}",
                    seqs.len()
                ));
            }
            if !is_behind && bytes > bound.bytes {
                return Err(format!("expected at most {} bytes of {topic}, saw {bytes}", bound.bytes));
            }
            all_gone.insert(topic.clone(), gone);
        }
        self.bounds.gone = all_gone;
        Ok(())
    }
}
