//! Rounds: the same bytes for many streams, which are given them some at a time.
//!
//! A round is what was read for a group of the bus, or heartbeats. Several may be under way; they take turns, so that a
//! small group does not wait until a large one has all been served. Until a round is over its group is not read again,
//! and a member that reads for itself meanwhile is given the round's bytes first: so each stream stays in order.

use std::mem;

use bytes::Bytes;
use sse_bus::bus::{ClientId, GroupId};

use super::{
    TURN,
    stream::{Next, Stream},
    streams::Streams,
};

/// The same bytes for many streams.
pub(super) struct Round {
    /// Whose bytes they are; nothing for heartbeats.
    group: Option<GroupId>,
    bytes: Bytes,
    members: Vec<ClientId>,
    /// So many of them have it.
    given: usize,
}

impl Round {
    fn new(group: Option<GroupId>, bytes: Bytes, members: Vec<ClientId>) -> Round {
        Round { group, bytes, members, given: 0 }
    }
}

impl Streams {
    /// Gives some streams what was read for them and others, after reading for groups that are called. Says how
    /// many got something.
    pub(super) fn go_on_with_rounds(&mut self) -> usize {
        let mut due = self.begin_rounds();
        // However many small groups there are, rounds go on.
        let most = due.len().max(TURN - TURN / 4) + TURN / 4;
        while let Some(mut round) = self.rounds.pop_front() {
            let until = round.members.len().min(round.given + most - due.len());
            due.extend(round.members[round.given..until].iter().map(|member| (*member, round.bytes.clone())));
            round.given = until;
            if until < round.members.len() {
                // Others have their turn before it goes on.
                self.rounds.push_back(round);
                break;
            }
        }
        self.deliver(&due);
        due.len()
    }

    /// Begins rounds of heartbeats and of called groups, unless a group is still in one. Small groups need none: gives
    /// their members, and what is theirs.
    pub(super) fn begin_rounds(&mut self) -> Vec<(ClientId, Bytes)> {
        let Streams { bus, readers, groups, rounds, .. } = self;
        let mut due = Vec::new();
        let (mut members, mut pieces, mut read) = (Vec::new(), Vec::new(), 0);
        bus.with(|bus, _| {
            for (_, reader, heartbeat) in readers {
                let beats = bus.called_heartbeats(*reader);
                if !beats.is_empty() {
                    rounds.push_back(Round::new(None, heartbeat.clone(), beats));
                }
                bus.called_groups(*reader, groups);
            }
            for _ in 0..groups.len() {
                let Some(group) = groups.pop_front_if(|_| read < TURN) else { break };
                if rounds.iter().any(|round| round.group == Some(group)) {
                    groups.push_back(group);
                    continue;
                }
                if bus.read_group(group, &mut members, &mut pieces) {
                    groups.push_back(group);
                }
                // In one piece, so that each socket is written to with one plain call.
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
                    rounds.push_back(Round::new(Some(group), bytes, mem::take(&mut members)));
                }
            }
        });
        due
    }

    /// Writes to streams what is theirs.
    pub(super) fn deliver(&mut self, due: &[(ClientId, Bytes)]) {
        // All sockets are found before the first is written to: each send would let the memory of the next grow cold,
        // while so many looks at once wait hardly longer than one.
        let found = |client| self.by_client.get(client).map(Stream::free_socket);
        let found: Vec<_> = due.iter().filter_map(|(client, bytes)| Some((*client, bytes, found(client)?))).collect();
        // What tokio knows of a socket is not asked: it would be one more look, and nearly always the socket has room.
        let mut short: Vec<(ClientId, &Bytes, usize)> = Vec::new();
        for (client, bytes, socket) in found {
            // What comes for it a second time must not overtake the rest of the first.
            let socket = socket.filter(|_| short.iter().all(|(other, ..)| *other != client));
            let sent = socket.map_or(0, |socket| socket.send(bytes).unwrap_or(0));
            if sent < bytes.len() {
                short.push((client, bytes, sent));
            }
        }
        let mut full = Vec::new();
        for (client, bytes, sent) in short {
            let Some(stream) = self.by_client.get_mut(&client) else { continue };
            match stream.rest(bytes.slice(sent..)) {
                // Also while the daemon stops: there may be more for its group.
                Next::Wait => drop(self.full.remove(&client)),
                next => self.go_on(client, next, &mut full),
            }
        }
        self.leave_groups(&full);
    }

    /// Whoever reads for itself gets first what was read for its group.
    pub(super) fn catch_up(&mut self, clients: &[ClientId]) {
        let mut due = Vec::new();
        for client in clients {
            let group = self.by_client.get(client).and_then(|stream| stream.group);
            let Some(round) = self.rounds.iter_mut().find(|round| group.is_some() && round.group == group) else {
                continue;
            };
            let waiting = &mut round.members[round.given..];
            if let Some(place) = waiting.iter().position(|member| member == client) {
                waiting.swap(0, place);
                round.given += 1;
                due.push((*client, round.bytes.clone()));
            }
        }
        self.deliver(&due);
    }
}
