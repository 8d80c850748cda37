//! Who is to be woken once the bus is unlocked.

use std::task::Waker;

use super::{
    framing::Framing,
    ids::{ClientId, FeedKey, GroupId, ReaderId},
    shared_cursor::SharedCursor,
};

/// Tasks that have something to read. They are woken when this is dropped, if not before; to be dropped once the bus is
/// unlocked, as each of them will lock it.
#[derive(Debug)]
#[must_use = "it is to be dropped once the bus is unlocked"]
pub struct Wakes(pub(super) Vec<Waker>);

impl Wakes {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Wakes them.
    pub fn wake(self) {}
}

impl Drop for Wakes {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

/// Who is called once the bus is unlocked.
#[derive(Debug, Default)]
pub(super) struct Wakeups {
    pub(super) woken: Vec<Waker>,
    pub(super) readers: Vec<Reader>,
}

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) waker: Waker,
    pub(super) framing: Framing,
    /// Its groups that have something to read, each once.
    pub(super) called: Vec<GroupId>,
    /// Its clients in groups that are to be given a heartbeat.
    pub(super) heartbeats: Vec<ClientId>,
}

impl Wakeups {
    /// Wakes the readers of a feed's groups.
    pub(super) fn groups_of(&mut self, key: FeedKey, groups: &mut [SharedCursor]) {
        for group in groups.iter_mut().filter(|group| !group.members.is_empty() && !group.is_woken) {
            group.is_woken = true;
            let group = GroupId { feed: key, reader: group.reader };
            self.reader(group.reader).called.push(group);
        }
    }

    /// Wakes a client's reader to give it a heartbeat.
    pub(super) fn heartbeat_of(&mut self, client: ClientId, reader: ReaderId) {
        self.reader(reader).heartbeats.push(client);
    }

    /// How the bytes of a client are framed, which its reader decides.
    pub(super) fn framing_of(&self, reader: Option<ReaderId>) -> Framing {
        reader.map_or(Framing::Plain, |reader| self.readers[reader.0].framing)
    }

    /// A reader that is called.
    fn reader(&mut self, reader: ReaderId) -> &mut Reader {
        let reader = &mut self.readers[reader.0];
        if reader.called.is_empty() && reader.heartbeats.is_empty() {
            self.woken.push(reader.waker.clone());
        }
        reader
    }
}
