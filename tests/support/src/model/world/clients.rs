//! Connecting and disconnecting.

use std::{sync::Arc, task::Waker, time::Duration};

use sse_bus::{
    FilterSet,
    bus::{ClientId, ClientName, Description, Now, Read, Start, Subscription, history::SnapshotKind},
    protocol::sse::PositionForm,
};

use super::{Outcome, World};
use crate::model::{
    live::LiveEvent,
    ops::{FILTERS, GARBAGE, Index, Since, To},
    subscriber::Subscriber,
    subscription::Asked,
};

impl World {
    pub(super) fn subscribe(&mut self, since: &Since, asked: Asked) -> Outcome {
        let start = match since {
            Since::None => Start::Retained,
            Since::Now => Start::Now,
            Since::Latest => Start::Latest,
            Since::All => Start::All,
            Since::Last { ms } => Start::Last(Duration::from_millis(*ms)),
            Since::Seq(index) => Start::After(self.log.id(index.index(self.log.head() as usize + 1) as u64)),
            Since::Beyond { by } => Start::After(self.log.id(self.log.head() + 1 + by)),
            Since::OtherEpoch { seq } => Start::After(format!("other-{seq}")),
            Since::Garbage(text) => Start::After(GARBAGE[*text].into()),
        };
        self.subscribe_from(&start, asked)
    }

    /// Several subscribers of one feed connect, and all read.
    pub(super) fn crowd(&mut self, asked: &Asked, many: usize) -> Outcome {
        let first = self.subscribers.len();
        for _ in 0..many {
            self.subscribe_from(&Start::Now, asked.clone())?;
        }
        (first..first + many).try_for_each(|who| self.drain(who))
    }

    pub(super) fn subscribe_from(&mut self, start: &Start, asked: Asked) -> Outcome {
        let Asked { filters, format, slow, name, past_only, reader: _ } = &asked;
        let filters = *filters;
        let name = name.as_deref().map(ClientName::parse).transpose().map_err(|e| e.to_string())?;
        let set = FilterSet::parse(FILTERS[filters]).map_err(|e| e.to_string())?;
        let mut subscription = Subscription::new(set, *format);
        (subscription.start, subscription.slow, subscription.past_only) = (start.clone(), *slow, *past_only);
        subscription.position_form = asked.position_form(self.subscribers.len());
        subscription.description = Description { name, peer: "test".into(), origin: None };
        let has_position = subscription.position_form != PositionForm::None;
        let now = self.now();
        if self.whole.is_some() {
            // The log evicts what is too old at once. Where a window had not evicted it before the subscription, it would
            // count as missed.
            self.bus.tick(now);
            while self.bus.is_behind() {
                self.bus.tick(now);
            }
        }
        let (id, confirmed) = self.bus.subscribe(subscription, now).map_err(|e| e.to_string())?;
        let shared = self.assign(id, &asked)?;
        self.presence(id, "join");
        self.looked();
        self.refresh()?;
        let head = self.log.head();
        if confirmed.client != id.to_string() || confirmed.position.to_string() != self.log.id(head) {
            return Err(format!("expected the client {id} at {head}, saw {confirmed:?}"));
        }
        let (mut begin, mut lost_position) = (head, None);
        match start {
            Start::Now | Start::Retained | Start::Latest => {}
            Start::All => begin = 0,
            Start::Last(time) => begin = self.log.before(now.mono.saturating_sub(time.as_millis() as u64)),
            Start::After(text) => match self.log.seq(text) {
                Ok(seq) if seq <= head && self.log.id(seq) == *text => begin = seq,
                _ => {
                    begin = 0;
                    lost_position = Some(if text.starts_with("other-") { "restarted" } else { "unknown_id" });
                }
            },
        }
        self.note(&format!("{id} begins after {begin}, head {head}: {asked:?}"));
        let mut subscriber = Subscriber::new(id, asked, begin, &self.log);
        (subscriber.shared, subscriber.lost_position) = (shared, lost_position);
        subscriber.has_position = has_position;
        if self.bus.is_behind() {
            subscriber.stale = self.stale().collect();
        }
        match start {
            Start::Retained => {
                subscriber.snapshot = Some(SnapshotKind::Retained);
                subscriber.older = self.log.retained(filters).collect();
            }
            Start::Latest => {
                subscriber.snapshot = Some(SnapshotKind::Newest);
                subscriber.older = self.log.newest(filters, &subscriber.stale).collect();
            }
            Start::All | Start::Last(_) => {
                subscriber.excused = (begin + 1..=head).filter(|seq| self.log.is_gone(*seq)).collect();
            }
            Start::Now | Start::After(_) => {}
        }
        self.subscribers.push(subscriber);
        Ok(())
    }

    /// The bus tells on the bus who comes and goes.
    fn presence(&mut self, client: ClientId, what: &str) {
        let (Now { unix, .. }, head) = (self.now(), self.log.head());
        self.log.live.push(LiveEvent::about(&client.to_string(), what, unix, head));
    }

    pub(super) fn resume(&mut self, who: Index, from: impl Fn(&[String]) -> String) -> Outcome {
        let Some(who) = self.pick(who).filter(|who| !self.subscribers[*who].ids.is_empty()) else { return Ok(()) };
        self.disconnect(who)?;
        let Subscriber { asked, ids, .. } = &self.subscribers[who];
        let (start, asked) = (Start::After(from(ids)), asked.clone());
        self.note(&format!("resumes with {start:?}"));
        self.subscribe_from(&start, asked)
    }

    pub(super) fn disconnect(&mut self, who: usize) -> Outcome {
        let id = self.subscribers[who].id;
        if !self.bus.disconnect(id, self.now()) || self.bus.disconnect(id, self.now()) {
            return Err(format!("expected {id} to be there once"));
        }
        self.left(&[who])
    }

    pub(super) fn kick(&mut self, to: &To) -> Outcome {
        let (address, meant) = self.address(to);
        let kicked = self.bus.kick(&address, self.now()).ok();
        if kicked.unwrap_or(0) != meant.len() as u64 {
            return Err(format!("expected {} to be kicked, saw {kicked:?}", meant.len()));
        }
        self.left(&meant)?;
        // A waiting subscriber is woken, and reads the end.
        self.wake();
        for who in meant {
            let subscriber = &self.subscribers[who];
            let id = subscriber.id;
            if subscriber.waiting.is_some_and(|count| subscriber.wake_count() == count) {
                return Err(format!("expected {id} to be woken when it is kicked"));
            }
            let waker = Waker::from(Arc::clone(&subscriber.wakes));
            if self.bus.read(id, self.now(), &waker, &mut Vec::new()) != Read::Ended {
                return Err(format!("expected the reads of {id} to have ended"));
            }
        }
        // A read evicts events outside of the bounds, also that of a subscriber that has ended.
        self.refresh()
    }

    fn left(&mut self, who: &[usize]) -> Outcome {
        for who in who {
            self.gone(*who);
        }
        self.refresh()
    }

    /// Removes a client, and its feed if it was the last subscriber.
    pub(super) fn gone(&mut self, who: usize) {
        self.subscribers[who].connected = false;
        self.presence(self.subscribers[who].id, "leave");
        let feed = self.subscribers[who].asked.feed();
        self.feeds_closed += usize::from(self.subscribers.iter().all(|s| !s.connected || s.asked.feed() != feed));
    }
}
