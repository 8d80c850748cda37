//! Groups: the subscribers of one feed that have everything and are read for by the same reader share one cursor.
//!
//! What a thousand subscribers of a feed get next is the same for all, so it is read once. Their reader (a shard of the
//! daemon's fan-out) is called once for all of them, takes the members and the bytes under one lock, and hands the bytes
//! to each. A client leaves its group when it is called for something of its own (a unicast event, its end), when it reads for itself, and when its reader finds that it does not keep up. It then has a cursor of its own
//! at the group's place, and is taken in again once it has read everything.
//!
//! A group is bounded as any cursor: one that its feed has left behind falls apart, and each member goes on as its own
//! policy has it.

use std::task::Waker;

use bytes::Bytes;

use super::{
    Bus,
    clients::Role,
    cursor::{MemberSlot, Position},
    feeds::Next,
    framing::Framing,
    ids::{ClientId, FeedKey, GroupId, ReaderId},
    wakeups::Reader,
};
use crate::limits::{CALLS_MAX, DELIVER_MAX};

impl Bus {
    /// Adds a reader, for as long as the bus lives. The waker is called when there are
    /// [groups](Bus::called_groups) of its clients to read for, or [heartbeats](Bus::called_heartbeats) to be given. All
    /// bytes for its clients are framed alike.
    pub fn add_reader(&mut self, waker: Waker, framing: Framing) -> ReaderId {
        self.wakeups.readers.push(Reader { waker, framing, called: Vec::new(), heartbeats: Vec::new() });
        ReaderId(self.wakeups.readers.len() - 1)
    }

    /// Lets a reader read for a client. Once the client's own [reads](Bus::read) have brought everything, it is read for
    /// together with the reader's other clients; the waker of its last read is called when it has to read for itself.
    ///
    /// To be called before the client's first read, as the reader's framing holds for all of its bytes.
    ///
    /// Gives the group in which it will be then; nothing for a client that is no subscriber (any more).
    pub fn assign(&mut self, id: ClientId, reader: ReaderId) -> Option<GroupId> {
        self.leave_group(id);
        let subscriber = self.clients.subscriber_mut(id)?;
        subscriber.reader = Some(reader);
        Some(GroupId { feed: subscriber.feed, reader })
    }

    /// Takes the groups that have something to read. Each is to be [read](Bus::read_group) to its end; until then its
    /// reader is not called for it again.
    pub fn called_groups(&mut self, reader: ReaderId, called: &mut impl Extend<GroupId>) {
        called.extend(&mut self.wakeups.readers[reader.0].called.drain(..));
    }

    /// Takes the clients in groups that are to be given a heartbeat, [`sse::HEARTBEAT`](crate::protocol::sse::HEARTBEAT).
    pub fn called_heartbeats(&mut self, reader: ReaderId) -> Vec<ClientId> {
        std::mem::take(&mut self.wakeups.readers[reader.0].heartbeats)
    }

    /// Gives the next bytes of a group, about [`DELIVER_MAX`] at most unless one event is larger, and the members, who
    /// are to be given them all. Says whether there may be more.
    pub fn read_group(&mut self, group: GroupId, members: &mut Vec<ClientId>, out: &mut Vec<Bytes>) -> bool {
        let GroupId { feed: key, reader } = group;
        let framing = self.wakeups.framing_of(Some(reader));
        self.feeds.seal(key, &self.limits);
        let Some(feed) = self.feeds.get_mut(key) else { return false };
        let Some(group) = feed.group_mut(Some(reader)) else { return false };
        group.is_woken = false;
        if group.members.is_empty() {
            return false;
        }
        let start = group.segment;
        let (mut next, mut seq, mut bytes, mut events, mut delivered) = (start, group.seq, 0, 0, group.delivered);
        while bytes < DELIVER_MAX {
            match feed.peek(next) {
                Next::Segment(segment) => {
                    (next, seq) = (next + 1, segment.last);
                    let framed = segment.chunk.bytes(framing);
                    bytes += framed.len();
                    events += segment.events;
                    delivered = delivered.max(segment.newest);
                    out.push(framed);
                }
                Next::Nothing => {
                    seq = self.head;
                    break;
                }
                Next::LeftBehind => return self.fall_apart(key, reader),
            }
        }
        let more = bytes >= DELIVER_MAX;
        if let Some(group) = feed.group_mut(Some(reader)) {
            (group.segment, group.seq, group.is_woken, group.delivered) = (next, seq, more, delivered);
            group.events += events;
            members.extend(&group.members);
            self.stats.delivered += events * group.members.len() as u64;
            self.stats.delivered_bytes += (bytes * group.members.len()) as u64;
        }
        (start..next).for_each(|segment| self.feeds.advance(key, segment));
        more
    }

    /// Takes a client out of its group, if it is in one: it has to [read](Bus::read) for itself. Gives the waker that
    /// calls it.
    pub fn leave_group(&mut self, id: ClientId) -> Option<Waker> {
        let client = self.clients.get_mut(id)?;
        let Role::Subscriber(subscriber) = &mut client.role else { return None };
        let position = &mut subscriber.cursor.position;
        let Position::Shared(MemberSlot { number, .. }) = *position else { return None };
        let (key, reader) = (subscriber.feed, subscriber.reader);
        let group = self.feeds.get_mut(key)?.group_mut(reader)?;
        group.members.swap_remove(number);
        let (moved, segment) = (group.members.get(number).copied(), group.segment);
        subscriber.sent = subscriber.sent.max(group.delivered);
        let Position::Shared(slot) = std::mem::replace(position, Position::Live { segment, seq: group.seq }) else {
            unreachable!("it has just been there")
        };
        client.events += group.events - slot.since;
        if !group.members.is_empty() {
            // The last one takes over the place that the group had in the feed.
            self.feeds.enter(key, segment);
        }
        if let Some(moved) = moved.and_then(|moved| self.clients.subscriber_mut(moved))
            && let Position::Shared(slot) = &mut moved.cursor.position
        {
            slot.number = number;
        }
        Some(slot.waker)
    }

    /// Lets a client that has everything wait: in its reader's group, or alone where it has no reader or the group has
    /// still to read what this client has read.
    pub(super) fn settle(&mut self, id: ClientId, waker: &Waker) {
        let Some(subscriber) = self.clients.subscriber_mut(id) else { return };
        let key = subscriber.feed;
        let Some(feed) = self.feeds.get_mut(key) else { return };
        let end = feed.end();
        let reader = subscriber.reader.filter(|_| !subscriber.past_only);
        let group = reader.map(|reader| feed.group_or_new(reader));
        let Some(group) = group.filter(|group| group.members.is_empty() || group.segment == end) else {
            feed.parked.insert(id, waker.clone());
            return;
        };
        let is_first = group.members.is_empty();
        (group.segment, group.seq) = (end, self.head);
        let slot = MemberSlot { number: group.members.len(), since: group.events, waker: waker.clone() };
        group.members.push(id);
        subscriber.cursor.position = Position::Shared(slot);
        // It may have waited alone, and read without being called.
        feed.parked.remove(&id);
        if !is_first {
            self.feeds.leave(key, end);
        }
    }

    /// Wakes a client that waits, so that it reads for itself.
    pub(super) fn wake(&mut self, id: ClientId) {
        let Some(subscriber) = self.clients.subscriber_mut(id) else { return };
        let parked = self.feeds.get_mut(subscriber.feed).and_then(|feed| feed.parked.remove(&id));
        let waker = parked.or_else(|| self.leave_group(id));
        self.wakeups.woken.extend(waker);
    }

    /// Ends a group that its feed has left behind, in a step. Returns whether there are members left, so that it is to be read
    /// again.
    fn fall_apart(&mut self, key: FeedKey, reader: ReaderId) -> bool {
        let group = self.feeds.get(key).and_then(|feed| feed.group(Some(reader)));
        let Some(members) = group.map(|group| &group.members) else { return false };
        let some: Vec<_> = members.iter().rev().take(CALLS_MAX).copied().collect();
        let is_woken = some.len() < members.len();
        for member in some {
            self.wake(member);
        }
        if let Some(group) = self.feeds.get_mut(key).and_then(|feed| feed.group_mut(Some(reader))) {
            group.is_woken = is_woken;
        }
        is_woken
    }
}
