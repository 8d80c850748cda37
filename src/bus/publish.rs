//! Publishing: a publication is admitted, the log assigns a sequence number, and the event is applied in the order of the log.
//!
//! [`Bus::publish`] does all of this in one call, for a bus with its own log. If a log elsewhere assigns the numbers, the
//! caller [admits](Bus::admit) a publication, appends the event to that log, and [applies](Bus::apply) every event that the
//! log returns, also those of other publishers. Sequence numbers only rise; some may be missing.

use std::time::Duration;

use super::{
    Bus, ClientId, Now, Publication,
    clients::Role,
    consumers::put_in_mailbox,
    dedup::DedupKeys,
    history::{Entry, TopicKey, TopicUsage},
    log_event::{Admitted, LogEvent},
    state::refuse_more,
};
use crate::{
    event::{Event, EventId},
    protocol::{ErrorCode, Published, Refused},
    time::whole_millis,
    topic::Topic,
};

impl Bus {
    /// Publishes an event. `from` is its publisher, if that is a client.
    ///
    /// # Errors
    ///
    /// The bus is closed or does not [admit](Bus::admit) the publication.
    pub fn publish(
        &mut self,
        publication: Publication,
        from: Option<ClientId>,
        now: Now,
    ) -> Result<Published, Refused> {
        if self.is_unicast(&publication) {
            let mut unicast = self.begin_unicast(publication, from, now)?;
            loop {
                if let Some(published) = self.continue_unicast(&mut unicast) {
                    return Ok(published);
                }
            }
        }
        let publication = put_in_mailbox(publication)?;
        let keys = publication.dedup_keys();
        if let Some(first) = self.duplicate(&keys, now) {
            return Ok(first);
        }
        let topic = self.room_for(&publication, now)?;
        self.count_published(from, Some(&publication.topic));
        let workers = publication.to.as_deref().map(|consumer| self.free_workers(consumer));
        let (id, retain, ttl) = (self.id(self.head + 1), publication.retain, publication.ttl);
        let subscribers = self.append(Some(topic), publication.into_event(id, now.unix), retain, ttl, now);
        self.note_published(keys, Some(id), now);
        Ok(match workers {
            None => Published::new(id, subscribers),
            Some(workers) => Published { queued: workers == 0, ..Published::new(id, workers) },
        })
    }

    /// Returns the earlier reply if a publication repeats an earlier one. Call it before a publication is
    /// [admitted](Bus::admit) to a log elsewhere.
    pub fn duplicate(&mut self, keys: &DedupKeys, now: Now) -> Option<Published> {
        let first = self.dedup.find(keys, now.mono)?;
        let id = first.seq.map(|seq| self.id(seq));
        Some(Published { duplicate: true, ..Published::new(id, 0) })
    }

    /// Records a publish, so that its repeat is recognized. Call it for an event that a log elsewhere has returned.
    pub fn note_published(&mut self, keys: DedupKeys, id: Option<EventId>, now: Now) {
        if !keys.is_empty() {
            let is_tracked = self.history.persist().is_some();
            self.dedup.note(keys, id.map(|id| id.seq), now.mono, is_tracked);
        }
    }

    /// Counts an event of a publisher, and records its topic, unless the event was sent to one client only. Call it for
    /// events that were [admitted](Bus::admit) to a log elsewhere.
    pub fn count_published(&mut self, from: Option<ClientId>, topic: Option<&Topic>) {
        let Some(client) = from.and_then(|id| self.clients.get_mut(id)) else { return };
        client.events += 1;
        if let (Role::Publisher { recent, .. }, Some(topic)) = (&mut client.role, topic) {
            recent.note(topic);
        }
    }

    /// Accepts a publication for the log, and adds its topic if it is new.
    ///
    /// # Errors
    ///
    /// There is no room for the topic or for another retained event, the event cannot be durable, or the bus is closed.
    pub fn admit(&mut self, publication: Publication, now: Now) -> Result<Admitted, Refused> {
        let publication = put_in_mailbox(publication)?;
        self.room_for(&publication, now).map(|_| Admitted::new(publication))
    }

    /// See [`Bus::admit`]. Returns the topic's key.
    fn room_for(&mut self, publication: &Publication, now: Now) -> Result<TopicKey, Refused> {
        self.refuse_when_closed()?;
        if publication.durable && self.history.persist().is_none() {
            let message = "this bus keeps history in memory, so nothing can be durable; use ack `accepted`";
            return Err(Refused::new(ErrorCode::NotDurable, message));
        }
        let topic = self.topic_key(&publication.topic, now)?;
        let type_bytes = publication.event_type.as_ref().map_or(0, |name| name.as_str().len());
        let cost = Entry::cost_of(publication.data.len(), type_bytes, publication.headers.as_lines().len());
        self.refuse_to_hold(&publication.topic, cost, now)?;
        if publication.retain && !publication.data.is_empty() && !self.has_room_to_retain(topic, cost, now) {
            let limit = self.limits.retained_bytes;
            let message = format!(
                "the retained events would need more than `retained_bytes` = {limit}; remove some (retain empty data), give \
                 them a TTL, or raise the limit"
            );
            return Err(Refused::new(ErrorCode::LimitRetained, message));
        }
        Ok(topic)
    }

    /// Applies the next event of the log: adds it to history and to the feeds. Returns the number of its subscribers, or None
    /// if the event was applied before or belongs to another epoch.
    ///
    /// A log with other publishers may hold more than the limits of this bus allow. If the limit of topics is reached, an event
    /// of a new topic is delivered and not stored; subscribers that read history receive a gap. If the limit of retained events
    /// is reached, a retained event is stored like any other event, and its topic then has no retained event.
    pub fn apply(&mut self, event: LogEvent, now: Now) -> Option<u64> {
        let LogEvent { event, retain, ttl } = event;
        let EventId { epoch, seq, .. } = event.id;
        if epoch != self.epoch || seq <= self.head {
            return None;
        }
        let topic = self.topic_key(&event.topic, now).ok();
        Some(self.append(topic, event, retain, ttl, now))
    }

    /// Adds an event with a sequence number above the head. Returns the number of its subscribers.
    fn append(&mut self, topic: Option<TopicKey>, event: Event, retain: bool, ttl: Option<Duration>, now: Now) -> u64 {
        let expires = ttl.map(|ttl| now.mono.saturating_add(whole_millis(ttl)));
        (self.head, self.head_check) = (event.id.seq, event.id.check);
        self.stats.published += 1;
        self.stats.published_bytes += event.data.len() as u64;
        let clears = event.data.is_empty();
        let entry = Entry::new(event, topic.unwrap_or_default(), now.mono, expires);
        let event = entry.event.clone();
        match topic {
            Some(key) => {
                let is_retained = retain && !clears && self.has_room_to_retain(key, entry.cost, now);
                if retain && !is_retained {
                    self.history.clear_retained(key, now.mono);
                }
                self.history.append(entry, is_retained);
                if let Some(state) = self.topics.get_mut(key) {
                    state.published += 1;
                    state.last = Some((self.head, now.unix));
                }
            }
            None => self.history.pass_over(self.head),
        }
        self.expire_history(now);
        let Some(event) = &event else { return 0 };
        if !self.consumers.is_empty() {
            match topic {
                Some(_) => self.offer_published(&event.topic, now),
                None => self.report_passed_over(&event.topic),
            }
        }
        self.topics.wanted_by(&event.topic, &mut self.wanting);
        self.feeds.publish(&self.wanting, event, false, &self.limits);
        self.feeds.subscribers(&self.wanting)
    }

    /// Refuses to publish on a closed bus.
    ///
    /// # Errors
    ///
    /// The bus is closed.
    pub fn refuse_when_closed(&self) -> Result<(), Refused> {
        if self.is_closed {
            let message = "the daemon is stopping; publish again when there is another";
            return Err(Refused::new(ErrorCode::Stopping, message));
        }
        Ok(())
    }

    /// Returns a topic's key. A new topic is added if there is room.
    fn topic_key(&mut self, topic: &Topic, now: Now) -> Result<TopicKey, Refused> {
        if let Some(key) = self.topics.find(topic.as_str()) {
            return Ok(key);
        }
        if self.topics.len() >= self.limits.topics {
            self.expire_history(now);
            let history = &self.history;
            let idle = self.topics.next_idle(|key| history.usage(key) == TopicUsage::default());
            if let Some(key) = idle {
                self.remove_topic(key);
            }
        }
        refuse_more(self.topics.len(), self.limits.topics, ErrorCode::LimitTopics, "topics")?;
        let key = self.topics.insert(topic.clone());
        self.history.add_topic(key, topic);
        Ok(key)
    }

    /// Removes a topic that has nothing in history.
    pub(super) fn remove_topic(&mut self, key: TopicKey) {
        if let Some(state) = self.topics.get(key).filter(|_| self.history.persist().is_some()) {
            self.gone.note(state.name.clone());
        }
        self.topics.remove(key);
        self.history.remove_topic(key);
    }

    /// Returns true if a retained event of this cost fits, in place of the topic's present one. Evicts expired retained events
    /// to make room.
    fn has_room_to_retain(&mut self, topic: TopicKey, cost: usize, now: Now) -> bool {
        let fits = |bus: &Bus| {
            let others = bus.history.totals().retained_bytes - bus.history.retained_cost(topic);
            others + cost <= bus.limits.retained_bytes
        };
        if !fits(self) {
            self.history.reclaim(now.mono);
            self.settle_evicted(now);
        }
        fits(self)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::{
        bus::{Format, Read, Start, Subscription, history::Memory},
        event::Epoch,
        limits::Limits,
        retention::Retention,
        topic::FilterSet,
    };

    const NOW: Now = Now { mono: 1, unix: 1 };

    fn bus(limits: Limits) -> Bus {
        Bus::new(Epoch::parse("e").unwrap(), limits, Box::new(Memory::new(Retention::default())))
    }

    fn publication(topic: &str, data: &str) -> Publication {
        Publication::new(Topic::parse(topic).unwrap(), data)
    }

    /// An event as a log elsewhere returns it.
    fn event(bus: &Bus, seq: u64, topic: &str, data: &str) -> LogEvent {
        let event = Event::new(bus.id(seq), Topic::parse(topic).unwrap(), data, 1);
        LogEvent { event, retain: false, ttl: None }
    }

    fn subscribe(bus: &mut Bus, start: Start) -> ClientId {
        let mut subscription = Subscription::new(FilterSet::parse(&["**"]).unwrap(), Format::Json);
        subscription.start = start;
        bus.subscribe(subscription, NOW).unwrap().0
    }

    /// Reads for a subscriber. Returns the sequence numbers of its events, and the types and data of gaps.
    fn read(bus: &mut Bus, id: ClientId) -> Vec<String> {
        let mut out = Vec::new();
        while bus.read(id, NOW, Waker::noop(), &mut out) == Read::Ready {}
        #[cfg(debug_assertions)]
        bus.self_check();
        let lines = String::from_utf8(out.concat()).unwrap();
        let event = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].take();
        let show = |event: serde_json::Value| match event["type"].as_str() {
            Some(kind) => format!("{kind} {}", event["data"].as_str().unwrap()),
            None => event["id"].as_str().unwrap().strip_prefix("e-").unwrap().to_owned(),
        };
        lines.lines().map(event).map(show).collect()
    }

    #[test]
    fn events_have_the_sequence_numbers_of_their_log_and_each_is_applied_once() {
        let mut bus = bus(Limits::default());
        let live = subscribe(&mut bus, Start::Now);
        for (seq, applied) in [(5, Some(1)), (5, None), (3, None), (9, Some(1))] {
            assert_eq!(bus.apply(event(&bus, seq, "t", "x"), NOW), applied, "{seq}");
        }
        let of_another_epoch = EventId::new(Epoch::parse("other").unwrap(), 20);
        let mut foreign = event(&bus, 20, "t", "x");
        foreign.event.id = of_another_epoch;
        assert_eq!(bus.apply(foreign, NOW), None);
        let admitted = bus.admit(publication("t", "y"), NOW).unwrap();
        let next = bus.id(12);
        assert_eq!(bus.apply(admitted.into_event(next, 1), NOW), Some(1));
        assert_eq!(bus.publish(publication("t", "z"), None, NOW).unwrap().id, Some(bus.id(13)));
        bus.finish().wake();
        assert_eq!(read(&mut bus, live), ["5", "9", "12", "13"]);
        // A client may resume from a sequence number that no event has.
        let resumed = subscribe(&mut bus, Start::After("e-7".into()));
        assert_eq!(read(&mut bus, resumed), ["9", "12", "13"]);
    }

    #[test]
    fn an_event_whose_topic_has_no_room_is_delivered_and_then_a_gap() {
        let mut bus = bus(Limits { topics: 1, ..Limits::default() });
        let live = subscribe(&mut bus, Start::Now);
        assert_eq!(bus.apply(event(&bus, 10, "a", "x"), NOW), Some(1));
        assert!(bus.admit(publication("b", "x"), NOW).is_err());
        assert_eq!(bus.apply(event(&bus, 11, "b", "x"), NOW), Some(1));
        assert_eq!(bus.apply(event(&bus, 12, "a", "x"), NOW), Some(1));
        bus.finish().wake();
        assert_eq!(read(&mut bus, live), ["10", "11", "12"]);
        let resumed = subscribe(&mut bus, Start::After("e-9".into()));
        let gap = r#"$gap {"reason":"evicted","missed":null,"from":"e-11","to":"e-11"}"#;
        assert_eq!(read(&mut bus, resumed), [gap, "10", "12"]);
    }

    #[test]
    fn a_retained_event_without_room_leaves_its_topic_without_one() {
        let mut bus = bus(Limits { retained_bytes: 1000, ..Limits::default() });
        let small = publication("t", "small").retained();
        bus.publish(small, None, NOW).unwrap();
        let large = "x".repeat(1000);
        assert_eq!(bus.admit(publication("t", &large).retained(), NOW).unwrap_err().code, ErrorCode::LimitRetained);
        bus.apply(LogEvent { retain: true, ..event(&bus, 10, "t", &large) }, NOW);
        let retained = subscribe(&mut bus, Start::Retained);
        assert!(read(&mut bus, retained).is_empty());
        let all = subscribe(&mut bus, Start::After("e-9".into()));
        assert_eq!(read(&mut bus, all), ["10"]);
    }
}
