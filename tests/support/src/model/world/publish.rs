//! Publishing, to topics and to clients.

use std::time::Duration;

use sse_bus::{
    Topic,
    bus::Publication,
    protocol::{ErrorCode, Published},
};

use super::{Outcome, World};
use crate::model::{
    live::LiveEvent,
    log::{Sent, topic_wanted},
    ops::{NAMES, Retain, Size, To},
    subscriber::Subscriber,
    wire::UNICAST_TOPIC,
};

impl World {
    /// Leaves the check of history to the caller: after many events once is enough.
    pub(super) fn publish(&mut self, topic: &str, data: String, retain: Retain, ttl_ms: Option<u64>) -> Outcome {
        let data = if matches!(retain, Retain::Clear) { String::new() } else { data };
        let mut publication = Publication::new(Topic::parse(topic).map_err(|e| e.to_string())?, data.clone());
        publication.headers = self.headers();
        publication.retain = !matches!(retain, Retain::No);
        publication.ttl = ttl_ms.map(Duration::from_millis);
        let headers = publication.headers.clone();
        let now = self.now();
        let before = self.bus.stats().published_bytes;
        self.publish_to_whole(publication.clone())?;
        match self.bus.publish(publication, None, now) {
            Ok(published) => {
                self.check_published_bytes(before, &data)?;
                let mut sent = Sent::new(topic, None, Some(data), now.unix, now.mono);
                (sent.expires, sent.headers) = (ttl_ms.map(|ttl| now.mono + ttl), headers);
                self.check_published(&published, self.wanting(topic))?;
                let seq = self.log.add(sent);
                self.made_room();
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
        Ok(())
    }

    fn wanting(&self, topic: &str) -> u64 {
        self.subscribers.iter().filter(|s| s.connected && topic_wanted(s.asked.filters, topic)).count() as u64
    }

    fn check_published_bytes(&self, before: u64, data: &str) -> Outcome {
        let bytes = self.bus.stats().published_bytes - before;
        if bytes != data.len() as u64 {
            return Err(format!("expected {} more bytes published, saw {bytes}", data.len()));
        }
        Ok(())
    }

    fn check_published(&self, published: &Published, subscribers: u64) -> Outcome {
        let id = self.log.id(self.log.head() + 1);
        if published.id.map(|id| id.to_string()) != Some(id.clone()) || published.subscribers != subscribers {
            return Err(format!("expected the id {id} and {subscribers} subscribers, saw {published:?}"));
        }
        Ok(())
    }

    /// A description of an address, and its subscribers.
    pub(super) fn address(&self, to: &To) -> (String, Vec<usize>) {
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
            meant = that(&|s| s.asked.name.as_deref() == Some(&*address));
        }
        (address, meant)
    }

    pub(super) fn unicast(&mut self, to: &To, size: Size) -> Outcome {
        let (address, meant) = self.address(to);
        // Unlike all others.
        let data = format!("{}#{}", self.data(size), self.log.live.len());
        let topic = Topic::parse(UNICAST_TOPIC).map_err(|e| e.to_string())?;
        let mut publication = Publication::new(topic, data.clone()).to_client(address);
        publication.headers = self.headers();
        let headers = publication.headers.clone();
        let now = self.now();
        let before = self.bus.stats();
        let published = self.bus.publish(publication, None, now).map_err(|e| e.to_string())?;
        if self.bus.stats() != before {
            return Err(format!("expected it not to be counted, saw {:?} after {before:?}", self.bus.stats()));
        }
        let taken = published.subscribers;
        let sure = meant.iter().filter(|i| !self.subscribers[**i].inbox.has_unicast_waiting()).count() as u64;
        if published.id.is_some() || taken < sure || taken > meant.len() as u64 {
            return Err(format!("expected {sure} to {} who take it, saw {published:?}", meant.len()));
        }
        let mut sent = Sent::new(UNICAST_TOPIC, None, Some(data), now.unix, now.mono);
        sent.headers = headers;
        let index = self.log.live.len();
        self.log.live.push(LiveEvent::unicast(sent, self.log.head()));
        let all = taken == meant.len() as u64;
        for subscriber in meant {
            let inbox = &mut self.subscribers[subscriber].inbox;
            if all || !inbox.has_unicast_waiting() {
                inbox.taken.insert(index);
            } else if taken > sure {
                inbox.perhaps.insert(index);
            }
        }
        Ok(())
    }
}
