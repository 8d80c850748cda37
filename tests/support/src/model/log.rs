//! The naive history: every event of the log that was ever published, and what the bus says it still has.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sse_bus::{Epoch, EventId, Headers, protocol::TopicInfo};

use super::{live::LiveEvent, ops::FILTERS, wire::Envelope};

pub struct Sent {
    pub topic: String,
    pub kind: Option<String>,
    /// Unknown for the bus's own events.
    pub data: Option<String>,
    pub headers: Headers,
    pub unix: u64,
    pub came: u64,
    pub expires: Option<u64>,
    /// Which filters of the table let it through, a bit for each.
    wanted: u32,
}

impl Sent {
    pub fn new(topic: &str, kind: Option<&str>, data: Option<String>, unix: u64, came: u64) -> Sent {
        let wanted = (0..FILTERS.len()).filter(|i| topic_wanted(*i, topic)).map(|i| 1 << i).sum();
        let (topic, kind, headers) = (topic.to_owned(), kind.map(str::to_owned), Headers::default());
        Sent { topic, kind, data, headers, unix, came, expires: None, wanted }
    }
}

impl Sent {
    /// Whether some filters let it through.
    pub fn is_wanted(&self, filters: usize) -> bool {
        self.wanted & (1 << filters) != 0
    }

    /// Compares with what was received.
    pub fn check(
        &self,
        kind: Option<&str>,
        data: &str,
        envelope: Option<&Envelope>,
        is_text: bool,
    ) -> Result<(), String> {
        let expected = self
            .data
            .as_deref()
            .map(|data| if is_text { data.replace("\r\n", "\n").replace('\r', "\n") } else { data.to_owned() });
        if expected.is_some_and(|expected| expected != data) {
            return Err("the data as it was published".into());
        }
        if kind != self.kind.as_deref() {
            return Err(format!("type {:?}", self.kind));
        }
        match envelope {
            Some(Envelope { topic, time, .. }) if *topic != self.topic || *time != self.unix => {
                Err(format!("topic {} and time {}", self.topic, self.unix))
            }
            Some(Envelope { headers: Some(headers), .. }) if *headers != self.headers => {
                Err(format!("headers {:?}", self.headers))
            }
            _ => Ok(()),
        }
    }
}

pub struct Log {
    epoch: Epoch,
    events: Vec<Sent>,
    /// What was live only.
    pub live: Vec<LiveEvent>,
    /// The events of each topic, except those that the bus has removed because they have expired.
    pub by_topic: HashMap<String, Vec<u64>>,
    pub retained: BTreeMap<String, u64>,
    /// The oldest event of each topic that the bus has; none if it is not listed.
    oldest: HashMap<String, u64>,
    pub now: u64,
    /// A topic with losses was forgotten, so gaps may cover no event.
    pub has_forgotten: bool,
    /// The bus has a window of a log elsewhere. What it reported as missed ahead of a cursor, the log may report again, without
    /// a number, once the window has left the cursor behind.
    pub has_window: bool,
}

impl Log {
    pub fn new(epoch: Epoch, has_window: bool) -> Log {
        Log {
            epoch,
            events: Vec::new(),
            live: Vec::new(),
            by_topic: HashMap::new(),
            retained: BTreeMap::new(),
            oldest: HashMap::new(),
            now: 0,
            has_forgotten: false,
            has_window,
        }
    }

    pub fn head(&self) -> u64 {
        self.events.len() as u64
    }

    pub fn id(&self, seq: u64) -> String {
        EventId::new(self.epoch, seq).to_string()
    }

    pub fn seq(&self, id: &str) -> Result<u64, String> {
        let seq = id.strip_prefix(self.epoch.as_str()).and_then(|rest| rest.strip_prefix('-')?.parse().ok());
        seq.ok_or_else(|| format!("an id of the epoch {}", self.epoch))
    }

    pub fn get(&self, seq: u64) -> Option<&Sent> {
        self.events.get(usize::try_from(seq).ok()?.checked_sub(1)?)
    }

    pub fn topic(&self, seq: u64) -> &str {
        self.get(seq).map_or("", |event| &event.topic)
    }

    pub fn add(&mut self, event: Sent) -> u64 {
        let seq = self.head() + 1;
        self.by_topic.entry(event.topic.clone()).or_default().push(seq);
        self.events.push(event);
        seq
    }

    /// Whether some filters let an event through.
    pub fn wants(&self, filters: usize, seq: u64) -> bool {
        self.get(seq).is_some_and(|event| event.is_wanted(filters))
    }

    pub fn has_ttl(&self, seq: u64) -> bool {
        self.get(seq).is_some_and(|event| event.expires.is_some())
    }

    pub fn has_expired(&self, seq: u64) -> bool {
        self.get(seq).and_then(|event| event.expires).is_some_and(|at| at <= self.now)
    }

    /// Returns true if the bus no longer has the event, neither in history nor as a retained event. Evicted events may
    /// be reported as missed even if they have expired since.
    pub fn is_gone(&self, seq: u64) -> bool {
        let is_retained = self.retained.get(self.topic(seq)) == Some(&seq) && !self.has_expired(seq);
        !self.is_in_history(seq) && !is_retained
    }

    fn is_in_history(&self, seq: u64) -> bool {
        self.oldest.get(self.topic(seq)).is_some_and(|oldest| *oldest <= seq)
    }

    /// The newest event of each matching topic: from history except for stale ones, else the retained one.
    pub fn newest(&self, filters: usize, stale: &BTreeSet<u64>) -> impl Iterator<Item = u64> {
        self.by_topic.iter().filter(move |(topic, _)| topic_wanted(filters, topic)).filter_map(|(topic, seqs)| {
            let in_history = seqs.iter().rev().copied().take_while(|seq| self.is_in_history(*seq));
            let in_history = in_history.filter(|seq| !stale.contains(seq));
            in_history.chain(self.retained.get(topic).copied()).find(|seq| !self.has_expired(*seq))
        })
    }

    /// Reads from the bus which events it still has of each topic. The oldest are evicted first, so the count
    /// determines them.
    pub fn refresh(&mut self, infos: &[TopicInfo]) {
        self.oldest.clear();
        for info in infos {
            let seqs = self.by_topic.get(&info.topic).map_or(&[][..], Vec::as_slice);
            if let Some(seq) = seqs.len().checked_sub(info.events as usize).and_then(|first| seqs.get(first)) {
                self.oldest.insert(info.topic.clone(), *seq);
            }
        }
        // They are sorted.
        let is_known = |topic: &String| infos.binary_search_by(|info| info.topic.cmp(topic)).is_ok();
        self.has_forgotten = self.has_forgotten || !self.by_topic.keys().all(is_known);
    }

    /// Removes the expired events of each topic, of those that are not among its evicted ones.
    pub fn remove_expired(&mut self, evicted: impl Fn(&str) -> usize) {
        let (events, now) = (&self.events, self.now);
        let has_expired = |seq: u64| events[seq as usize - 1].expires.is_some_and(|at| at <= now);
        for (topic, seqs) in &mut self.by_topic {
            let mut rest = seqs.split_off(evicted(topic));
            rest.retain(|seq| !has_expired(*seq));
            seqs.append(&mut rest);
        }
    }

    /// Returns true if an event is the last one that was published to its topic. Later ones may have expired.
    pub fn is_newest(&self, seq: u64) -> bool {
        let topic = self.topic(seq);
        !self.events[seq as usize..].iter().any(|later| later.topic == topic)
    }

    /// The retained events that match some filters and have not expired.
    pub fn retained(&self, filters: usize) -> impl Iterator<Item = u64> {
        self.retained.values().copied().filter(move |seq| self.wants(filters, *seq) && !self.has_expired(*seq))
    }

    /// The last event published before a time.
    pub fn before(&self, time: u64) -> u64 {
        self.events.partition_point(|event| event.came < time) as u64
    }
}

/// Returns true if the filters of the table match a topic.
pub fn topic_wanted(filters: usize, topic: &str) -> bool {
    FILTERS[filters].iter().any(|filter| crate::matching::matches(filter, topic))
}
