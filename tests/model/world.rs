//! The bus, the model beside it, and the steps that both take.

use std::{sync::Arc, task::Waker, time::Duration};

use proptest::sample::Index;
use sse_bus::{
    Epoch, FilterSet, Topic,
    bus::{Bus, ClientName, Description, Format, Now, Publication, Read, Start, Subscription, history::Memory},
    limits::DELIVER_MAX,
    protocol::{ErrorCode, Published, Slow},
};

use super::{
    log::{Log, Sent, topic_wanted},
    ops::{FILTERS, GARBAGE, NAMES, Op, Retain, Setup, Since, Size, TOPICS, To},
    subscriber::Subscriber,
    wire,
};

const EPOCH: &str = "e";

pub(crate) struct World {
    setup: Setup,
    bus: Bus,
    log: Log,
    subscribers: Vec<Subscriber>,
    /// What was done, with what came of it.
    pub(crate) steps: Vec<String>,
}

type Outcome = Result<(), String>;

impl World {
    pub(crate) fn new(setup: &Setup) -> World {
        let epoch = Epoch::parse(EPOCH).expect("a legal epoch");
        let history = Memory::new(setup.retention.clone());
        World {
            setup: setup.clone(),
            bus: Bus::new(epoch, setup.limits.clone(), Box::new(history)),
            log: Log::new(epoch),
            subscribers: Vec::new(),
            steps: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.log.now, unix: 1_700_000_000_000 + self.log.now }
    }

    pub(crate) fn step(&mut self, op: &Op, batch_goes_on: bool) -> Outcome {
        self.steps.push(format!("{op:?}"));
        match op {
            Op::Publish { topic, size, retain, ttl_ms } => {
                self.publish(TOPICS[*topic], self.data(*size), *retain, *ttl_ms)?;
            }
            Op::PublishToMany => {
                for i in 0..40 {
                    self.publish(&format!("m/{i}"), "x".into(), Retain::No, None)?;
                }
            }
            Op::Burst { topic, events } => {
                for _ in 0..*events {
                    self.publish(TOPICS[*topic], "x".into(), Retain::No, None)?;
                }
            }
            Op::Unicast { to, size } => self.unicast(to, *size)?,
            Op::Subscribe { filters, since, slow, format, name, past_only } => {
                self.subscribe(*filters, since, *slow, *format, *name, *past_only)?;
            }
            Op::Read { who } => {
                if let Some(who) = self.pick(*who) {
                    self.read(who)?;
                }
            }
            Op::Drain { who } => {
                if let Some(who) = self.pick(*who) {
                    self.drain(who)?;
                }
            }
            Op::Resume { who, from } => self.resume(*who, |ids| from.get(ids).clone())?,
            Op::ResumeLast { who } => self.resume(*who, |ids| ids[ids.len() - 1].clone())?,
            Op::Disconnect { who } => {
                if let Some(who) = self.pick(*who) {
                    self.disconnect(who)?;
                }
            }
            Op::Kick { to } => self.kick(to)?,
            Op::Pass { ms } => self.log.now += ms,
            Op::Tick => {
                self.log.now = (self.log.now / 1000 + 1) * 1000;
                self.bus.tick(self.now());
                self.log.refresh(&self.bus);
            }
        }
        if batch_goes_on {
            return Ok(());
        }
        self.finish()
    }

    /// At the end everybody who is still there reads all there is.
    pub(crate) fn end(&mut self) -> Outcome {
        self.finish()?;
        self.steps.push("the end: all drain".into());
        // Those who leave are told of on the bus, so that others have something to read again.
        for _ in 0..=self.subscribers.len() {
            for who in 0..self.subscribers.len() {
                if self.subscribers[who].connected {
                    self.drain(who)?;
                    self.finish()?;
                }
            }
        }
        let told: u64 = self.subscribers.iter().map(Subscriber::gaps_told).sum();
        let stats = self.bus.stats();
        if stats.gaps.iter().sum::<u64>() != told {
            return Err(format!("expected {told} gaps in {stats:?}"));
        }
        let delivered: u64 = self.subscribers.iter().map(|s| s.delivered.len() as u64).sum();
        if stats.delivered != delivered || stats.published != self.log.head() {
            return Err(format!("expected {delivered} delivered, {} published in {stats:?}", self.log.head()));
        }
        for info in self.bus.clients() {
            let subscriber = self.subscribers.iter().find(|s| s.id.to_string() == info.id);
            let delivered = subscriber.map_or(0, |s| s.delivered.len() as u64);
            if info.events != delivered || info.lag != 0 {
                return Err(format!("expected {delivered} events and no lag in {info:?}"));
            }
        }
        Ok(())
    }

    fn data(&self, size: Size) -> String {
        match size {
            Size::Small => format!("#{}", self.log.head()),
            Size::Lines => "one\rtwo\r\nthree\n\n: four\r".into(),
            Size::Big => "x".repeat(DELIVER_MAX * 2 / 3),
        }
    }

    fn pick(&self, who: Index) -> Option<usize> {
        let connected: Vec<usize> = (0..self.subscribers.len()).filter(|i| self.subscribers[*i].connected).collect();
        (!connected.is_empty()).then(|| *who.get(&connected))
    }

    fn publish(&mut self, topic: &str, data: String, retain: Retain, ttl_ms: Option<u64>) -> Outcome {
        let data = if matches!(retain, Retain::Clear) { String::new() } else { data };
        let publication = Publication {
            topic: Topic::parse(topic).map_err(|e| e.to_string())?,
            kind: None,
            data: data.clone(),
            retain: !matches!(retain, Retain::No),
            ttl: ttl_ms.map(Duration::from_millis),
            to: None,
        };
        let now = self.now();
        match self.bus.publish(publication, None, now) {
            Ok(published) => {
                let mut sent = Sent::new(topic, None, Some(data), now.unix, now.mono);
                sent.expires = ttl_ms.map(|ttl| now.mono + ttl);
                self.check_published(&published, self.wanting(topic))?;
                let seq = self.log.add(sent);
                match retain {
                    Retain::No => {}
                    Retain::Yes => drop(self.log.retained.insert(topic.into(), seq)),
                    Retain::Clear => drop(self.log.retained.remove(topic)),
                }
            }
            Err(refused) => {
                let limits = &self.setup.limits;
                let is_tiny = match refused.code {
                    ErrorCode::LimitTopics => limits.topics < 100,
                    ErrorCode::LimitRetained => limits.retained_bytes < 1000 || data.len() > 1000,
                    _ => false,
                };
                if !is_tiny {
                    return Err(format!("expected no refusal, saw {refused}"));
                }
            }
        }
        self.log.refresh(&self.bus);
        Ok(())
    }

    fn wanting(&self, topic: &str) -> u64 {
        self.subscribers.iter().filter(|s| s.connected && topic_wanted(s.filters, topic)).count() as u64
    }

    fn check_published(&self, published: &Published, subscribers: u64) -> Outcome {
        let id = self.log.id(self.log.head() + 1);
        if published.id.to_string() != id || published.subscribers != subscribers {
            return Err(format!("expected the id {id} and {subscribers} subscribers, saw {published:?}"));
        }
        Ok(())
    }

    /// What an address is in words, and whom it means.
    fn address(&self, to: &To) -> (String, Vec<usize>) {
        let address = match to {
            To::Id(who) => self.pick(*who).map_or("c999".into(), |who| self.subscribers[who].id.to_string()),
            To::Name(name) => NAMES[*name].to_owned(),
        };
        let that = |is_it: &dyn Fn(&Subscriber) -> bool| {
            let found = self.subscribers.iter().enumerate().filter(|(_, s)| s.connected && is_it(s));
            found.map(|(i, _)| i).collect::<Vec<_>>()
        };
        let mut meant = that(&|s| s.id.to_string() == address);
        if meant.is_empty() {
            meant = that(&|s| s.name.as_deref() == Some(&*address));
        }
        (address, meant)
    }

    fn unicast(&mut self, to: &To, size: Size) -> Outcome {
        let (address, meant) = self.address(to);
        let data = self.data(size);
        let publication = Publication {
            topic: Topic::parse("to/one").map_err(|e| e.to_string())?,
            kind: None,
            data: data.clone(),
            retain: false,
            ttl: None,
            to: Some(address),
        };
        let now = self.now();
        let published = self.bus.publish(publication, None, now).map_err(|e| e.to_string())?;
        let taken = published.subscribers;
        let sure = meant.iter().filter(|i| !self.subscribers[**i].has_unicast_waiting()).count() as u64;
        if taken < sure || taken > meant.len() as u64 {
            return Err(format!("expected {sure} to {} who take it, saw {published:?}", meant.len()));
        }
        self.check_published(&published, taken)?;
        let mut sent = Sent::new("to/one", None, Some(data), now.unix, now.mono);
        sent.is_unicast = true;
        let seq = self.log.add(sent);
        let all = taken == meant.len() as u64;
        for subscriber in meant {
            let subscriber = &mut self.subscribers[subscriber];
            if all || !subscriber.has_unicast_waiting() {
                subscriber.unicast.insert(seq);
            } else if taken > sure {
                subscriber.perhaps.insert(seq);
            }
        }
        Ok(())
    }

    fn subscribe(
        &mut self,
        filters: usize,
        since: &Since,
        slow: Slow,
        format: Format,
        name: Option<usize>,
        past_only: bool,
    ) -> Outcome {
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
        self.subscribe_from(filters, &start, slow, format, name.map(|name| NAMES[name].to_owned()), past_only)
    }

    fn subscribe_from(
        &mut self,
        filters: usize,
        start: &Start,
        slow: Slow,
        format: Format,
        name: Option<String>,
        past_only: bool,
    ) -> Outcome {
        let parsed_name = name.as_deref().map(ClientName::parse).transpose().map_err(|e| e.to_string())?;
        let subscription = Subscription {
            filters: FilterSet::parse(FILTERS[filters]).map_err(|e| e.to_string())?,
            format,
            start: start.clone(),
            slow,
            past_only,
            description: Description { name: parsed_name, peer: "test".into() },
        };
        let now = self.now();
        let (id, answer) = self.bus.subscribe(subscription, now).map_err(|e| e.to_string())?;
        self.presence("join");
        self.log.refresh(&self.bus);
        let head = self.log.head();
        if answer.client != id.to_string() || answer.position.to_string() != self.log.id(head) {
            return Err(format!("expected the client {id} at {head}, saw {answer:?}"));
        }
        let (mut begin, mut lost_place) = (head, None);
        match start {
            Start::Now | Start::Retained | Start::Latest => {}
            Start::All => begin = 0,
            Start::Last(time) => begin = self.log.before(now.mono.saturating_sub(time.as_millis() as u64)),
            Start::After(text) => match self.log.seq(text) {
                // The join that has just been told has moved the head.
                Ok(seq) if seq <= head && self.log.id(seq) == *text => begin = seq,
                _ => {
                    begin = 0;
                    lost_place = Some(if text.starts_with("other-") { "restarted" } else { "unknown_id" });
                }
            },
        }
        let mut subscriber = Subscriber::new(id, name, filters, slow, format, past_only, begin, head);
        subscriber.lost_place = lost_place;
        match start {
            Start::Retained => subscriber.older = self.log.retained(filters).collect(),
            Start::Latest => subscriber.older = self.log.newest(filters).collect(),
            Start::All | Start::Last(_) => {
                subscriber.excused = (begin + 1..=head).filter(|seq| self.log.is_gone(*seq)).collect();
            }
            Start::Now | Start::After(_) => {}
        }
        self.note(&format!("{id} begins after {begin}, head {head}"));
        self.subscribers.push(subscriber);
        Ok(())
    }

    /// The bus tells on the bus who comes and goes.
    fn presence(&mut self, what: &str) {
        let Now { unix, mono } = self.now();
        self.log.add(Sent::new("$sys/clients", Some(what), None, unix, mono));
    }

    /// One read. Says whether there may be more.
    fn read(&mut self, who: usize) -> Result<bool, String> {
        let now = self.now();
        let subscriber = &mut self.subscribers[who];
        let id = subscriber.id;
        let waker = Waker::from(subscriber.wakes.clone());
        let mut out = Vec::new();
        let read = self.bus.read(id, now, &waker, &mut out);
        let bytes = out.concat();
        let items = wire::parse(subscriber.format, &bytes)?;
        let mut shown: String = items
            .iter()
            .flat_map(|item| {
                [
                    "
    "
                    .to_owned(),
                    format!("{item:.60?}"),
                ]
            })
            .collect();
        if let Some((end, _)) = shown.char_indices().nth(4000) {
            shown.replace_range(end.., "…");
        }
        self.steps.push(format!("  {id} reads {} bytes, {read:?}{shown}", bytes.len()));
        for item in &items {
            let subscriber = &mut self.subscribers[who];
            subscriber.take(item, &self.log).map_err(|expected| {
                format!("{id} {}: expected {expected}, saw {item:.200?}", FILTERS[subscriber.filters].join(" "))
            })?;
        }
        let subscriber = &mut self.subscribers[who];
        subscriber.waiting = None;
        match read {
            Read::Ready if bytes.is_empty() => Err(format!("{id}: expected bytes from a read that is ready")),
            Read::Ready => Ok(true),
            Read::Waiting => {
                subscriber.waiting = Some(subscriber.wake_count());
                self.check_drained(who)?;
                Ok(false)
            }
            Read::Over => {
                self.over(who)?;
                Ok(false)
            }
        }
    }

    fn check_drained(&mut self, who: usize) -> Outcome {
        let subscriber = &mut self.subscribers[who];
        let id = subscriber.id;
        subscriber.drained(&self.log).map_err(|expected| {
            format!("{id} {}: expected {expected}, saw nothing more to read", FILTERS[subscriber.filters].join(" "))
        })
    }

    /// A read has ended a subscription.
    fn over(&mut self, who: usize) -> Outcome {
        let subscriber = &self.subscribers[who];
        let (id, log) = (subscriber.id, &self.log);
        let behind = (subscriber.drained_at + 1..=log.head()).filter(|seq| log.wants(subscriber.filters, *seq)).count();
        if subscriber.past_only {
            self.check_drained(who)?;
        } else if subscriber.slow != Slow::Disconnect || behind == 0 {
            return Err(format!("{id}: expected no end; {behind} events behind"));
        }
        self.subscribers[who].connected = false;
        self.presence("leave");
        self.log.refresh(&self.bus);
        Ok(())
    }

    fn drain(&mut self, who: usize) -> Outcome {
        for _ in 0..100_000 {
            if !self.read(who)? {
                return Ok(());
            }
        }
        Err(format!("expected an end, saw {} reads that were ready", 100_000))
    }

    fn resume(&mut self, who: Index, from: impl Fn(&[String]) -> String) -> Outcome {
        let Some(who) = self.pick(who).filter(|who| !self.subscribers[*who].ids.is_empty()) else { return Ok(()) };
        self.disconnect(who)?;
        let Subscriber { filters, slow, format, past_only, name, ids, .. } = &self.subscribers[who];
        let start = Start::After(from(ids));
        let (filters, slow, format, past_only, name) = (*filters, *slow, *format, *past_only, name.clone());
        self.note(&format!("resumes with {start:?}"));
        self.subscribe_from(filters, &start, slow, format, name, past_only)
    }

    fn disconnect(&mut self, who: usize) -> Outcome {
        let id = self.subscribers[who].id;
        if !self.bus.disconnect(id, self.now()) || self.bus.disconnect(id, self.now()) {
            return Err(format!("expected {id} to be there once"));
        }
        self.left(&[who]);
        Ok(())
    }

    fn kick(&mut self, to: &To) -> Outcome {
        let (address, meant) = self.address(to);
        let kicked = self.bus.kick(&address, self.now()).ok();
        if kicked.unwrap_or(0) != meant.len() as u64 {
            return Err(format!("expected {} to be kicked, saw {kicked:?}", meant.len()));
        }
        self.left(&meant);
        // Who waits is woken, and reads that it is over.
        for wakers in self.bus.finish() {
            wakers.wake();
        }
        for who in meant {
            let subscriber = &self.subscribers[who];
            let id = subscriber.id;
            if subscriber.waiting.is_some_and(|count| subscriber.wake_count() == count) {
                return Err(format!("expected {id} to be woken when it is kicked"));
            }
            let waker = Waker::from(Arc::clone(&subscriber.wakes));
            if self.bus.read(id, self.now(), &waker, &mut Vec::new()) != Read::Over {
                return Err(format!("expected the reads of {id} to be over"));
            }
        }
        Ok(())
    }

    fn left(&mut self, who: &[usize]) {
        for who in who {
            self.subscribers[*who].connected = false;
            self.presence("leave");
        }
        self.log.refresh(&self.bus);
    }

    /// The end of a batch: who waits and has something to read now must have been woken.
    fn finish(&mut self) -> Outcome {
        self.bus.finish().into_iter().for_each(Waker::wake);
        if self.bus.position().to_string() != self.log.id(self.log.head()) {
            return Err(format!("expected the head {}, saw {}", self.log.head(), self.bus.position()));
        }
        for subscriber in self.subscribers.iter().filter(|s| s.connected) {
            let Some(count) = subscriber.waiting.filter(|count| *count == subscriber.wake_count()) else { continue };
            let news = |seq: &u64| self.log.wants(subscriber.filters, *seq) || subscriber.unicast.contains(seq);
            if let Some(seq) = (subscriber.drained_at + 1..=self.log.head()).find(news) {
                return Err(format!("expected {} to be woken for {seq}, saw {count} wakes", subscriber.id));
            }
        }
        self.check_bounds()
    }

    fn check_bounds(&self) -> Outcome {
        let (retention, status) = (&self.setup.retention, self.bus.status());
        if status.history_bytes > retention.budget as u64 {
            return Err(format!("expected history within its budget, saw {status:?}"));
        }
        for info in self.bus.topics() {
            if info.events > retention.events as u64 || info.bytes > retention.bytes as u64 {
                return Err(format!("expected a topic within its bounds, saw {info:?}"));
            }
        }
        Ok(())
    }

    fn note(&mut self, text: &str) {
        self.steps.push(format!("  {text}"));
    }
}
