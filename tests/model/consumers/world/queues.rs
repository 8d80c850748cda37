//! Publishing, and the administration of consumers.

use std::{collections::BTreeMap, time::Duration};

use sse_bus::{
    Epoch, EventId, FilterSet, Headers, Topic,
    bus::{
        Publication,
        consumers::{ConsumerName, ConsumerSettings, DeadOperation, SeekTo},
    },
    protocol::{ErrorCode, OnFull},
};

use super::{EPOCH, FILTERS, Published, TOPICS, World, expect, name, pick};
use crate::consumers::{
    expected::{Job, Queue, Status},
    ops::Op,
};

impl World {
    pub(super) fn publish(&mut self, op: &Op) -> Result<(), String> {
        let Op::Publish { topic, key, ttl, size, retain } = *op else { return Ok(()) };
        let mut publication = Publication::new(Topic::parse(TOPICS[topic]).expect("legal"), "x".repeat(size));
        publication.ttl = ttl.map(Duration::from_millis);
        publication.retain = retain;
        if let Some(key) = key {
            publication.headers = Headers::parse([("key", key.to_string())]).expect("legal");
        }
        if let Some(twin) = &mut self.twin {
            twin.publish(publication.clone(), None, self.now).map_err(|e| format!("without consumers: {e}"))?;
            twin.finish().wake();
        }
        let seq = match self.bus.publish(publication, None, self.now) {
            Ok(published) => published.id.expect("a broadcast has an id").seq,
            Err(e) => {
                let is_holder = |(name, queue): (&ConsumerName, &Queue)| {
                    queue.topics.contains(&topic)
                        && queue.settings.on_full == OnFull::Refuse
                        && e.message.contains(&format!("`{name}`"))
                };
                let is_full = e.code == ErrorCode::LimitHistory && self.queues.iter().any(is_holder);
                return expect(is_full, format_args!("a refusal that names a consumer of the topic, not {e}"));
            }
        };
        let expires = ttl.map(|ttl| self.now.mono + ttl);
        self.published.insert(seq, Published { topic, key, expires });
        for queue in self.queues.values_mut().filter(|queue| queue.topics.contains(&topic)) {
            queue.jobs.insert(seq, Job::new(key, expires, Status::Open));
        }
        Ok(())
    }

    pub(super) fn create(&mut self, op: &Op) -> Result<(), String> {
        let Op::Create { name: index, filter, max_in_flight, max_attempts, on_full, is_short, all } = op else {
            return Ok(());
        };
        let (name, (filters, topics)) = (name(*index), FILTERS[*filter]);
        let settings = ConsumerSettings {
            ack_wait: Duration::from_millis(20),
            max_attempts: *max_attempts,
            backoff: vec![Duration::from_millis(5), Duration::from_millis(15)],
            max_in_flight: *max_in_flight,
            on_full: *on_full,
            inactive_after: Duration::from_millis(if *is_short { 30 } else { 1_000_000 }),
            ..ConsumerSettings::new(FilterSet::parse(filters).expect("legal"))
        };
        let from = if *all { SeekTo::All } else { SeekTo::Now };
        let created = self.bus.create_consumer(&name, settings.clone(), from, self.now);
        if let Some(known) = self.queues.get(&name) {
            let expected = if known.settings == settings { Ok(false) } else { Err(ErrorCode::ConsumerExists) };
            return expect(created.map_err(|e| e.code) == expected, format_args!("{expected:?} for a second creation"));
        }
        expect(created == Ok(true), format_args!("the creation of {name}"))?;
        let may_miss = *on_full == OnFull::Drop || *is_short;
        let mut queue = Queue { settings, topics, may_miss, jobs: BTreeMap::new(), last_first: 0, has_retried: false };
        let before = self.published.iter().filter(|(_, published)| *all && topics.contains(&published.topic));
        queue
            .jobs
            .extend(before.map(|(seq, published)| (*seq, Job::new(published.key, published.expires, Status::Either))));
        self.queues.insert(name, queue);
        self.write(None);
        Ok(())
    }

    pub(super) fn seek(&mut self, name: &ConsumerName, to: Option<u16>) -> Result<(), String> {
        let position = to.map_or(0, |to| u64::from(to) % (self.bus.position().seq + 1));
        let epoch = Epoch::parse(EPOCH).expect("legal");
        let target = if to.is_some() { SeekTo::After(EventId::new(epoch, position)) } else { SeekTo::All };
        let is_known = self.bus.seek_consumer(name, target, self.now).is_ok();
        expect(is_known == self.queues.contains_key(name), "whether the consumer is known")?;
        if let Some(queue) = self.queues.get_mut(name) {
            queue.seek(position);
            for (seq, Published { topic, key, expires }) in self.published.range(position + 1..) {
                if queue.topics.contains(topic) {
                    queue.jobs.entry(*seq).or_insert(Job::new(*key, *expires, Status::Either));
                }
            }
        }
        self.end_tokens(|current| current.name == *name);
        self.write(None);
        Ok(())
    }

    pub(super) fn dead(&mut self, name: &ConsumerName, letter: u16, retries: bool) -> Result<(), String> {
        self.check_dead(name)?;
        let Ok(letters) = self.bus.dead_letters(name, 0) else { return Ok(()) };
        let Some(letter) = pick(&letters, letter) else { return Ok(()) };
        let (id, seq, queue) = (letter.id, letter.id.seq, self.queues.get_mut(name).ok_or("an unknown consumer")?);
        if retries {
            self.bus.change_dead(name, id, DeadOperation::Retry, self.now).map_err(|e| e.to_string())?;
            queue.set(seq, Status::Open);
            queue.has_retried = true;
            if let Some(job) = queue.jobs.get_mut(&seq) {
                job.attempts = Some(0);
            }
        } else {
            self.bus.change_dead(name, id, DeadOperation::Drop, self.now).map_err(|e| e.to_string())?;
            queue.set(seq, Status::Done);
        }
        Ok(())
    }

    /// The dead letters are those that are expected.
    pub(super) fn check_dead(&self, name: &ConsumerName) -> Result<(), String> {
        let Some(queue) = self.queues.get(name) else { return Ok(()) };
        let letters = self.bus.dead_letters(name, 0).map_err(|e| e.to_string())?;
        let listed: Vec<u64> = letters.iter().map(|letter| letter.id.seq).collect();
        for (seq, job) in &queue.jobs {
            let may_differ = job.status == Status::Either || job.expires.is_some_and(|end| end <= self.now.mono);
            let is_listed = listed.contains(seq);
            let is_missing = !is_listed && queue.may_miss;
            let is_right = may_differ || is_missing || is_listed == (job.status == Status::Dead);
            expect(is_right, format_args!("the dead letter {seq} of {name}, listed {is_listed}: {job:?}"))?;
        }
        Ok(())
    }
}
