//! The end of the process, and a start from disk.

use sse_bus::{
    bus::{Bus, Start},
    protocol::TopicInfo,
};

use super::{Outcome, World, start};

impl World {
    /// Restarts the bus if it has a disk.
    pub(super) fn restart(&mut self) -> Outcome {
        if self.setup.on_disk.is_none() {
            return Ok(());
        }
        self.finish()?;
        if self.bus.has_changed() {
            return Err("expected all changes to be written".into());
        }
        let (mut bus, readers) = start(&self.setup);
        self.disk.restore(&mut bus, self.now())?;
        // A start evicts by age, so the bus that ends does, too.
        self.will_remove_expired();
        self.bus.tick(self.now());
        while self.bus.is_behind() {
            self.bus.tick(self.now());
        }
        self.removed_expired();
        let (expected, seen) = (self.shown(&self.bus), self.shown(&bus));
        if expected != seen {
            return Err(format!("expected after a restart\n  {expected:?}, saw\n  {seen:?}"));
        }
        (self.bus, self.readers) = (bus, readers);
        (self.began, self.bytes_read) = (self.log.head(), 0);
        // The lost events of a topic are no longer known individually.
        self.log.has_forgotten = true;
        self.looked();
        self.refresh()?;
        // Clients find their connections broken, and resume.
        let broken = std::mem::take(&mut self.subscribers).into_iter().filter(|subscriber| subscriber.connected);
        for subscriber in broken {
            if let Some(id) = subscriber.ids.last() {
                self.subscribe_from(&Start::After(id.clone()), subscriber.asked)?;
            }
        }
        Ok(())
    }

    /// The state that survives a restart, as it is reported.
    fn shown(&self, bus: &Bus) -> (String, [u64; 3], Vec<TopicInfo>) {
        let status = bus.status();
        let mut topics = bus.topics(self.now());
        // A topic whose only event was refused is not written.
        topics.retain(|info| info.published > 0);
        for info in &mut topics {
            info.subscribers = 0;
        }
        (status.position, [status.history_events, status.history_bytes, status.retained], topics)
    }
}
