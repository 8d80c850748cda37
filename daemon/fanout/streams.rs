//! A shard's streams, and what becomes of them.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, atomic::AtomicBool},
    task::{Wake, Waker},
};

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use sse_bus::{
    bus::{ClientId, Framing, GroupId, ReaderId},
    protocol::sse::HEARTBEAT,
};
use tracing::debug;

use super::{
    Arrival, Call, Shard,
    multicast::Round,
    stream::{Next, Stream},
};
use crate::shared_bus::SharedBus;

/// A shard's own side.
pub(super) struct Streams {
    pub(super) bus: SharedBus,
    shard: Arc<Shard>,
    /// The shard's reader of the bus for each framing, and a heartbeat in that framing.
    pub(super) readers: [(Framing, ReaderId, Bytes); 2],
    /// By the ids of their clients, which are never given twice: a late call for a stream that is gone finds none.
    pub(super) by_client: FxHashMap<ClientId, Stream>,
    /// Those whose socket is full.
    pub(super) full: FxHashSet<ClientId>,
    /// The daemon stops: a stream that has nothing more to do is closed.
    pub(super) stopping: bool,
    /// What one turn has read, in its order. Kept for its allocations.
    turn: Vec<Vec<Bytes>>,
    /// Groups that have something to read.
    pub(super) groups: VecDeque<GroupId>,
    /// What was read for groups and is being given to their members, some at a time, round by round.
    pub(super) rounds: VecDeque<Round>,
}

impl Streams {
    pub(super) fn new(bus: SharedBus, shard: Arc<Shard>) -> Streams {
        let readers = [Framing::Chunked, Framing::Plain].map(|framing| {
            let reader = bus.with(|bus, _| bus.add_reader(Waker::from(shard.clone()), framing));
            (framing, reader, framing.frame(HEARTBEAT))
        });
        Streams {
            bus,
            shard,
            readers,
            by_client: FxHashMap::default(),
            full: FxHashSet::default(),
            stopping: false,
            turn: Vec::new(),
            groups: VecDeque::new(),
            rounds: VecDeque::new(),
        }
    }

    pub(super) fn insert(&mut self, arrival: Arrival) -> ClientId {
        let client = arrival.member.id;
        let call = Arc::new(Call { shard: self.shard.clone(), client, queued: AtomicBool::new(true) });
        let reader =
            self.readers.iter().find(|(framing, ..)| *framing == arrival.framing).map(|(_, reader, _)| *reader);
        let group = reader.and_then(|reader| self.bus.with(|bus, _| bus.assign(client, reader)));
        self.by_client.insert(client, Stream::new(arrival, call, group));
        client
    }

    /// What becomes of a stream after it has written.
    pub(super) fn go_on(&mut self, client: ClientId, next: Next, full: &mut Vec<ClientId>) {
        match next {
            Next::Wait if self.stopping => {
                let ended = self.by_client.get_mut(&client).map(Stream::end);
                match ended {
                    Some(Next::Full) => full.push(client),
                    _ => self.close(client, "the daemon stops"),
                }
            }
            Next::Wait => drop(self.full.remove(&client)),
            Next::Again => {
                self.full.remove(&client);
                if let Some(stream) = self.by_client.get(&client) {
                    stream.call.wake_by_ref();
                }
            }
            Next::Full => full.push(client),
            Next::Close(why) => self.close(client, why),
        }
    }

    /// Streams whose sockets are full read for themselves, when they can.
    pub(super) fn leave_groups(&mut self, full: &[ClientId]) {
        if !full.is_empty() {
            self.full.extend(full);
            self.bus.with(|bus, _| full.iter().for_each(|client| drop(bus.leave_group(*client))));
        }
    }

    /// Lets some streams read and write once.
    pub(super) fn take_turn(&mut self, clients: &[ClientId]) {
        self.catch_up(clients);
        let mut turn = mem::take(&mut self.turn);
        if turn.len() < clients.len() {
            turn.resize_with(clients.len(), Default::default);
        }
        self.bus.with(|bus, now| {
            for (client, found) in clients.iter().zip(&mut turn) {
                let Some(stream) = self.by_client.get_mut(client) else { continue };
                stream.read(bus, now, found);
            }
        });
        let mut full = Vec::new();
        for (client, found) in clients.iter().zip(&mut turn) {
            let Some(stream) = self.by_client.get_mut(client) else { continue };
            let next = stream.turn(found);
            self.go_on(*client, next, &mut full);
            found.clear();
        }
        self.turn = turn;
        self.leave_groups(&full);
    }

    pub(super) fn close(&mut self, client: ClientId, why: &str) {
        self.full.remove(&client);
        if self.by_client.remove(&client).is_some() {
            debug!(%client, "closing the stream: {why}");
        }
    }

    /// Closes the full streams that are stalled, and those whose clients are gone: nothing else calls them.
    pub(super) fn close_full(&mut self) {
        let full = &self.full;
        let removed: Vec<_> =
            self.bus.with(|bus, _| full.iter().filter(|client| !bus.is_connected(**client)).copied().collect());
        for client in removed {
            self.close(client, "the bus has ended the stream");
        }
        let stalled = |client: &&ClientId| self.by_client.get(client).is_some_and(Stream::is_stalled);
        for client in self.full.iter().filter(stalled).copied().collect::<Vec<_>>() {
            self.bus.with(|bus, now| bus.disconnect_slow(client, now));
            self.close(client, "the peer has taken nothing for too long");
        }
    }

    /// The daemon stops: what the bus still has is written, then the sockets are closed. Those that do not take it in
    /// time are cut with everything else.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        for stream in self.by_client.values() {
            stream.call.wake_by_ref();
        }
    }
}
