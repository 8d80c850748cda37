//! Readers, and the shared cursors that they read for.

use std::{sync::Arc, task::Waker};

use sse_bus::{
    bus::{Bus, ClientId, Framing, ReaderId, SharedCursorId},
    limits::HEARTBEAT,
};

use super::{Outcome, World, read::shown};
use crate::model::{
    ops::{Index, READERS},
    subscriber::Subscriber,
    subscription::{Asked, Counter},
    wire,
};

pub(super) struct Reader {
    id: ReaderId,
    pub(super) framing: Framing,
    wakes: Arc<Counter>,
    /// The wake-ups counted when it last took its due shared cursors.
    taken_at: usize,
    /// The shared cursors that it took and has not read to their ends.
    called: Vec<SharedCursorId>,
    /// The clients to which it has sent a heartbeat.
    heartbeats: Vec<ClientId>,
    /// The number of closed feeds when it was last up to date.
    feeds_closed: usize,
}

impl Reader {
    pub(super) fn new(bus: &mut Bus, framing: Framing) -> Reader {
        let wakes = Arc::<Counter>::default();
        let id = bus.add_reader(Waker::from(wakes.clone()), framing);
        Reader { id, framing, wakes, taken_at: 0, called: Vec::new(), heartbeats: Vec::new(), feeds_closed: 0 }
    }
}

impl World {
    /// Assigns a new subscriber to a reader, if it asks for one. Returns its shared cursor.
    pub(super) fn assign(&mut self, id: ClientId, asked: &Asked) -> Result<Option<SharedCursorId>, String> {
        let Some(reader) = asked.reader else { return Ok(None) };
        let shared = self.bus.assign(id, self.readers[reader].id);
        let belongs_on_it = |s: &Subscriber| s.asked.feed() == asked.feed() && s.asked.reader == asked.reader;
        let is_wrong = |s: &&Subscriber| s.connected && s.shared.is_some() && (s.shared == shared) != belongs_on_it(s);
        match self.subscribers.iter().find(is_wrong) {
            _ if shared.is_none() => Err(format!("expected a shared cursor for {id}")),
            Some(other) => {
                Err(format!("expected one shared cursor for one feed and reader, saw {shared:?} like {}", other.id))
            }
            None => Ok(shared),
        }
    }

    /// Returns true if a subscriber may leave reading to its reader: its shared cursor is due, or will be found due.
    pub(super) fn is_read_for(&self, subscriber: &Subscriber) -> bool {
        let Asked { reader: Some(reader), .. } = subscriber.asked else { return false };
        let Reader { wakes, taken_at, called, .. } = &self.readers[reader];
        wakes.count() > *taken_at || called.iter().any(|shared| Some(*shared) == subscriber.shared)
    }

    /// A reader takes its due shared cursors.
    fn take_calls(&mut self, reader: usize) -> Outcome {
        let Reader { id, wakes, taken_at, called, heartbeats, feeds_closed, framing: _ } = &mut self.readers[reader];
        let (before, woken) = (called.len(), wakes.count() - *taken_at);
        self.bus.called_cursors(*id, called);
        let due = self.bus.called_heartbeats(*id);
        *taken_at += woken;
        if woken != usize::from(called.len() > before || !due.is_empty()) {
            return Err(format!(
                "expected reader {reader} to be woken once when a shared cursor is due, saw {woken} wakes for {:?} and {due:?}",
                &called[before..]
            ));
        }
        // A new feed may have the number of a closed one.
        let most = 1 + self.feeds_closed - *feeds_closed;
        if called.iter().any(|shared| called.iter().filter(|other| *other == shared).count() > most) {
            return Err(format!("expected reader {reader} to be called again only after its read, saw {called:?}"));
        }
        let is_its = |s: &Subscriber| s.asked.reader == Some(reader) && s.asked.format.has_heartbeat();
        if let Some(id) = due.iter().find(|id| !self.subscribers.iter().any(|s| s.id == **id && is_its(s))) {
            return Err(format!(
                "expected heartbeats for subscribers with reader {reader} and a format with them, saw {id}"
            ));
        }
        heartbeats.extend(due);
        Ok(())
    }

    /// Time passes so that each subscriber is due one heartbeat: from its reader, or it is woken for it.
    pub(super) fn heartbeats(&mut self) -> Outcome {
        // The first tick covers all the time without ticks.
        self.tick();
        (0..READERS).try_for_each(|reader| self.take_calls(reader))?;
        self.readers.iter_mut().for_each(|reader| reader.heartbeats.clear());
        (0..HEARTBEAT.as_secs()).for_each(|_| self.tick());
        self.refresh()?;
        (0..READERS).try_for_each(|reader| self.take_calls(reader))?;
        let sleeps = |s: &&Subscriber| s.connected && s.waiting == Some(s.wake_count());
        for subscriber in self.subscribers.iter().filter(sleeps).filter(|s| s.asked.format.has_heartbeat()) {
            let reader = subscriber.asked.reader.map(|reader| &self.readers[reader]);
            let given = reader.map_or(0, |r| r.heartbeats.iter().filter(|id| **id == subscriber.id).count());
            if given != 1 {
                return Err(format!("expected one heartbeat for {}, or a wake-up; saw {given}", subscriber.id));
            }
        }
        Ok(())
    }

    /// One read of one of a reader's due shared cursors.
    pub(super) fn read_one_shared(&mut self, reader: usize, which: Index) -> Outcome {
        self.take_calls(reader)?;
        match self.readers[reader].called.len() {
            0 => Ok(()),
            shared_cursors => self.read_shared(reader, which.index(shared_cursors)),
        }
    }

    /// Reads until no shared cursor has anything more.
    pub(super) fn drain_groups(&mut self, reader: usize) -> Outcome {
        self.take_calls(reader)?;
        for _ in 0..100_000 {
            if self.readers[reader].called.is_empty() {
                return Ok(());
            }
            self.read_shared(reader, 0)?;
        }
        Err(format!("expected an end, saw {} reads of shared cursors that had more", 100_000))
    }

    fn read_shared(&mut self, reader: usize, which: usize) -> Outcome {
        let (mut members, mut out) = (Vec::new(), Vec::new());
        let called = &mut self.readers[reader].called;
        let shared = called[which];
        let more = self.bus.read_shared(shared, &mut members, &mut out);
        self.bytes_read += out.iter().map(|bytes| bytes.len() as u64).sum::<u64>() * members.len() as u64;
        if !more {
            called.remove(which);
            if called.is_empty() {
                self.readers[reader].feeds_closed = self.feeds_closed;
            }
        }
        let bytes = wire::unframed(self.readers[reader].framing, &out.concat())?;
        let names: Vec<String> = members.iter().map(ClientId::to_string).collect();
        let result = format!("reader {reader} reads {} bytes for {names:?}, more: {more}", bytes.len());
        self.note(&result);
        if (more && bytes.is_empty()) || (members.is_empty() && !bytes.is_empty()) {
            return Err(format!("expected bytes if there may be more, and members to give them to; saw: {result}"));
        }
        for (i, member) in members.iter().enumerate() {
            let is_it = |s: &Subscriber| s.id == *member && s.connected && s.waiting.is_some();
            let who = self.subscribers.iter().position(|s| is_it(s) && s.shared == Some(shared));
            let Some(who) = who.filter(|_| !members[..i].contains(member)) else {
                return Err(format!("expected members who wait in {shared:?}, each once, saw {member} in {names:?}"));
            };
            let items = wire::parse(self.subscribers[who].asked.format, &bytes)?;
            if i == 0 {
                self.note(&shown(&items));
            }
            self.take(who, &items)?;
            let subscriber = &mut self.subscribers[who];
            // It keeps waiting in its shared cursor.
            subscriber.waiting = Some(subscriber.wake_count());
            if !more {
                self.check_drained(who)?;
            }
        }
        Ok(())
    }

    /// Removes a client from its shared cursor, as a reader does when its socket is full. Returns true if it was in one.
    pub(super) fn leave_shared_cursor(&mut self, who: usize) -> Result<bool, String> {
        let subscriber = &mut self.subscribers[who];
        let Some(waker) = self.bus.leave_shared_cursor(subscriber.id) else { return Ok(false) };
        // It is not woken from now on.
        let before = subscriber.wake_count();
        waker.wake();
        let (id, is_its_own) = (subscriber.id, subscriber.wake_count() == before + 1);
        if subscriber.waiting.take().is_none() || subscriber.shared.is_none() || !is_its_own {
            return Err(format!("expected {id} on a shared cursor only if it waits for a reader, and its waker back"));
        }
        self.note(&format!("{id} leaves its shared cursor"));
        Ok(true)
    }

    /// Checks that subscribers with a reader are on shared cursors once all are up to date.
    pub(super) fn check_who_is_on_shared_cursor(&mut self) -> Outcome {
        for who in 0..self.subscribers.len() {
            let subscriber = &self.subscribers[who];
            let (id, expected) = (subscriber.id, subscriber.connected && subscriber.shared.is_some());
            if self.leave_shared_cursor(who)? != expected {
                return Err(format!("expected {id} to be on a shared cursor: {expected}"));
            }
        }
        Ok(())
    }
}
