//! The streams of a shard: reads for them, alone or together, and writes to their sockets.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, atomic::AtomicBool},
    task::{Wake, Waker},
};

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use sse_bus::{
    bus::{ClientId, Framing, ReaderId, SharedCursorId},
    limits::CLIENTS_AT_ONCE,
    protocol::sse::HEARTBEAT,
};
use tracing::debug;

use super::{
    mailbox::{Mailbox, NewStream, StreamWaker},
    multicast::Multicast,
    stream::{Next, Stream},
};
use crate::shared_bus::SharedBus;

/// Maximum number of streams that are read for under one lock, and then served before other tasks of the thread run.
pub(super) const TURN: usize = 64;

/// The streams of a shard.
pub(super) struct Streams {
    bus: SharedBus,
    mailbox: Arc<Mailbox>,
    /// The shard's reader of the bus for each framing, and a heartbeat in that framing.
    readers: [(Framing, ReaderId, Bytes); 2],
    /// By client ID. IDs are never reused, so a late wake-up for a closed stream finds none.
    pub(super) by_client: FxHashMap<ClientId, Stream>,
    /// Streams whose socket is full.
    pub(super) full: FxHashSet<ClientId>,
    /// The daemon is stopping: a stream that has received everything is closed.
    pub(super) stopping: bool,
    /// The bytes read in one turn, in its order. Kept for its allocations.
    turn: Vec<Vec<Bytes>>,
    /// Shared cursors that were woken.
    pub(super) shared_cursors: VecDeque<SharedCursorId>,
    pub(super) multicasts: VecDeque<Multicast>,
}

impl Streams {
    pub(super) fn new(bus: SharedBus, mailbox: Arc<Mailbox>) -> Streams {
        let readers = [Framing::Chunked, Framing::Plain].map(|framing| {
            let reader = bus.with(|bus, _| bus.add_reader(Waker::from(mailbox.clone()), framing));
            (framing, reader, framing.frame(HEARTBEAT))
        });
        Streams {
            bus,
            mailbox,
            readers,
            by_client: FxHashMap::default(),
            full: FxHashSet::default(),
            stopping: false,
            turn: Vec::new(),
            shared_cursors: VecDeque::new(),
            multicasts: VecDeque::new(),
        }
    }

    /// Adds a stream, and returns the ID of its client.
    pub(super) fn insert(&mut self, new: NewStream) -> ClientId {
        let client = new.client.id;
        let waker = StreamWaker { mailbox: self.mailbox.clone(), client, is_queued: AtomicBool::new(true) };
        let reader = self.readers.iter().find(|(framing, ..)| *framing == new.framing).map(|(_, reader, _)| *reader);
        let shared = reader.and_then(|reader| self.bus.with(|bus, _| bus.assign(client, reader)));
        self.by_client.insert(client, Stream::new(new, Arc::new(waker), shared));
        client
    }

    /// Does what a stream needs after its turn; one whose socket is full is added to `full`.
    fn after_turn(&mut self, client: ClientId, next: Next, full: &mut Vec<ClientId>) {
        match next {
            Next::Wait if self.stopping => {
                let ended = self.by_client.get_mut(&client).map(Stream::end);
                match ended {
                    Some(Next::Full) => full.push(client),
                    _ => self.close(client, "the daemon stops"),
                }
            }
            Next::Wait | Next::Fetch => drop(self.full.remove(&client)),
            Next::Again => {
                self.full.remove(&client);
                if let Some(stream) = self.by_client.get(&client) {
                    stream.waker.wake_by_ref();
                }
            }
            Next::Full => full.push(client),
            Next::Close(why) => self.close(client, why),
        }
    }

    /// Takes streams whose sockets are full out of their shared cursors: they read for themselves once they can be written to.
    fn leave_shared_cursors(&mut self, full: &[ClientId]) {
        if !full.is_empty() {
            self.full.extend(full);
            self.bus.with(|bus, _| full.iter().for_each(|client| drop(bus.leave_shared_cursor(*client))));
        }
    }

    /// Lets streams read and write once.
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
            self.after_turn(*client, next, &mut full);
            found.clear();
        }
        self.turn = turn;
        self.leave_shared_cursors(&full);
    }

    pub(super) fn close(&mut self, client: ClientId, why: &str) {
        self.full.remove(&client);
        if self.by_client.remove(&client).is_some() {
            debug!(%client, "closing the stream: {why}");
        }
    }

    /// Closes full streams that are stalled or whose clients were removed: they are not woken otherwise.
    pub(super) fn close_full(&mut self) {
        let full: Vec<_> = self.full.iter().copied().collect();
        for some in full.chunks(CLIENTS_AT_ONCE) {
            let removed: Vec<_> =
                self.bus.with(|bus, _| some.iter().filter(|client| !bus.is_connected(**client)).copied().collect());
            for client in removed {
                self.close(client, "the bus has ended the stream");
            }
        }
        let stalled = |client: &&ClientId| self.by_client.get(client).is_some_and(Stream::is_stalled);
        for client in self.full.iter().filter(stalled).copied().collect::<Vec<_>>() {
            self.bus.with(|bus, now| bus.disconnect_slow(client, now));
            self.close(client, "the peer has taken no byte for too long");
        }
    }

    /// Begins to stop: streams write what the bus still has, then their sockets are closed.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        for stream in self.by_client.values() {
            stream.waker.wake_by_ref();
        }
    }

    /// Reads for shared cursors that were woken, and writes to the next streams of the multicasts. Returns the number of
    /// writes.
    pub(super) fn continue_multicasts(&mut self) -> usize {
        let mut due = self.begin_multicasts();
        // However many shared cursors have few members, multicasts make progress.
        let most = due.len().max(TURN - TURN / 4) + TURN / 4;
        while let Some(mut multicast) = self.multicasts.pop_front() {
            due.extend(multicast.next(most - due.len()));
            if !multicast.is_done() {
                // The others have their turn first.
                self.multicasts.push_back(multicast);
                break;
            }
        }
        self.deliver(&due);
        due.len()
    }

    /// Begins multicasts of heartbeats and of woken shared cursors, unless a shared cursor still has one. Those with few
    /// members need none: their members are returned with their bytes.
    pub(super) fn begin_multicasts(&mut self) -> Vec<(ClientId, Bytes)> {
        let Streams { bus, readers, shared_cursors, multicasts, .. } = self;
        let mut due = Vec::new();
        let (mut members, mut pieces, mut read) = (Vec::new(), Vec::new(), 0);
        bus.with(|bus, _| {
            for (_, reader, heartbeat) in readers {
                let beats = bus.called_heartbeats(*reader);
                if !beats.is_empty() {
                    multicasts.push_back(Multicast::new(None, heartbeat.clone(), beats));
                }
                bus.called_cursors(*reader, shared_cursors);
            }
            for _ in 0..shared_cursors.len() {
                let Some(shared) = shared_cursors.pop_front_if(|_| read < TURN) else { break };
                if multicasts.iter().any(|multicast| multicast.is_for(shared)) {
                    shared_cursors.push_back(shared);
                    continue;
                }
                if bus.read_shared(shared, &mut members, &mut pieces) {
                    shared_cursors.push_back(shared);
                }
                // In one piece, so that each socket needs one plain write.
                let bytes = if let [piece] = &*pieces { piece.clone() } else { pieces.concat().into() };
                pieces.clear();
                if bytes.is_empty() {
                    members.clear();
                    continue;
                }
                read += members.len();
                if read <= TURN {
                    due.extend(members.drain(..).map(|member| (member, bytes.clone())));
                } else {
                    multicasts.push_back(Multicast::new(Some(shared), bytes, mem::take(&mut members)));
                }
            }
        });
        due
    }

    /// Writes bytes to streams.
    pub(super) fn deliver(&mut self, due: &[(ClientId, Bytes)]) {
        // All sockets are looked up before the first is written to: each write evicts the memory of the next from the cache,
        // while the cache misses of many look-ups in a row overlap.
        let found = |client| self.by_client.get(client).map(Stream::free_socket);
        let found: Vec<_> = due.iter().filter_map(|(client, bytes)| Some((*client, bytes, found(client)?))).collect();
        // tokio's own readiness is not checked: that costs one more cache miss, and nearly always the socket has room.
        let mut short: Vec<(ClientId, &Bytes, usize)> = Vec::new();
        for (client, bytes, socket) in found {
            // Later bytes for the same stream must not overtake the rest of the first ones.
            let socket = socket.filter(|_| short.iter().all(|(other, ..)| *other != client));
            let sent = socket.map_or(0, |socket| socket.send(bytes).unwrap_or(0));
            if sent < bytes.len() {
                short.push((client, bytes, sent));
            }
        }
        let mut full = Vec::new();
        for (client, bytes, sent) in short {
            let Some(stream) = self.by_client.get_mut(&client) else { continue };
            match stream.write_rest(bytes.slice(sent..)) {
                // Also while the daemon stops: its shared cursor may have more.
                Next::Wait => drop(self.full.remove(&client)),
                next => self.after_turn(client, next, &mut full),
            }
        }
        self.leave_shared_cursors(&full);
    }

    /// Before streams read for themselves, writes the bytes of multicasts to them that were read for their shared cursors.
    pub(super) fn catch_up(&mut self, clients: &[ClientId]) {
        let mut due = Vec::new();
        for client in clients {
            let Some(shared) = self.by_client.get(client).and_then(|stream| stream.shared) else { continue };
            let multicast = self.multicasts.iter_mut().find(|multicast| multicast.is_for(shared));
            due.extend(multicast.and_then(|multicast| multicast.take(*client)).map(|bytes| (*client, bytes)));
        }
        self.deliver(&due);
    }
}
