//! Groups: the subscribers of one feed that have read everything, and have the same reader, share one cursor.
//!
//! A thousand subscribers of a feed receive the same bytes next, so these are read once. The reader of a group (a shard of
//! the daemon's fan-out) is woken once for all members, takes the members and the bytes under one lock, and sends the bytes
//! to each. A client leaves its group when it is woken alone (for a unicast event, or its end), when it reads for itself,
//! and when its reader finds that it does not keep up. It then has its own cursor at the position of the group, and rejoins
//! once it has read everything.
//!
//! A shared cursor is bounded like any cursor: if it falls behind its feed, the group is dissolved, and each member continues
//! by its own policy for slow subscribers.

use std::task::Waker;

use bytes::Bytes;

use super::{
    Bus,
    clients::Role,
    cursor::{MemberSlot, Position},
    feed::Next,
    framing::Framing,
    ids::{ClientId, FeedKey, GroupId, ReaderId},
    wakeups::Reader,
};
use crate::limits::{CALLS_MAX, DELIVER_MAX};

impl Bus {
    /// Adds a reader, which is never removed. Its waker is woken when there are [groups](Bus::called_groups) to read for, or
    /// [heartbeats](Bus::called_heartbeats) to send. All bytes for its clients have the same framing.
    pub fn add_reader(&mut self, waker: Waker, framing: Framing) -> ReaderId {
        self.wakeups.readers.push(Reader { waker, framing, called: Vec::new(), heartbeats: Vec::new() });
        ReaderId(self.wakeups.readers.len() - 1)
    }

    /// Assigns a subscriber to a reader. Once the subscriber's own [reads](Bus::read) have returned everything, it joins the
    /// group of the reader's clients with the same feed; the waker of its last read is woken when it must read for itself
    /// again.
    ///
    /// Call this before the client's first read, since the framing of the reader applies to all of its bytes.
    ///
    /// Returns the group that it will join, or None if the client is not a subscriber, or not connected any more.
    pub fn assign(&mut self, id: ClientId, reader: ReaderId) -> Option<GroupId> {
        self.leave_group(id);
        let subscriber = self.clients.subscriber_mut(id)?;
        subscriber.reader = Some(reader);
        Some(GroupId { feed: subscriber.feed, reader })
    }

    /// Takes the groups that have something to read. [Read](Bus::read_group) each to its end; until then its reader is not
    /// woken for it again.
    pub fn called_groups(&mut self, reader: ReaderId, called: &mut impl Extend<GroupId>) {
        called.extend(&mut self.wakeups.readers[reader.0].called.drain(..));
    }

    /// Takes the clients in groups whose heartbeats are due. A heartbeat is
    /// [`sse::HEARTBEAT`](crate::protocol::sse::HEARTBEAT).
    pub fn called_heartbeats(&mut self, reader: ReaderId) -> Vec<ClientId> {
        std::mem::take(&mut self.wakeups.readers[reader.0].heartbeats)
    }

    /// Appends the next bytes of a group to `out`, at most about [`DELIVER_MAX`] unless one event is larger, and its members
    /// to `members`. Each member must be sent all of the bytes. Returns true if there may be more to read.
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
                Next::LeftBehind => return self.dissolve(key, reader),
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

    /// Removes a client from its group, if it is in one: it must then [read](Bus::read) for itself. Returns its waker.
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
            // The last member takes over the position of the group in the feed.
            self.feeds.enter(key, segment);
        }
        if let Some(moved) = moved.and_then(|moved| self.clients.subscriber_mut(moved))
            && let Position::Shared(slot) = &mut moved.cursor.position
        {
            slot.number = number;
        }
        Some(slot.waker)
    }

    /// Makes a client that has read everything wait: in the group of its reader, or alone if it has no reader, or if the
    /// group has not read everything yet.
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
        // It may have waited alone before, and read without being woken.
        feed.parked.remove(&id);
        if !is_first {
            self.feeds.leave(key, end);
        }
    }

    /// Wakes a client that waits, to read for itself.
    pub(super) fn wake(&mut self, id: ClientId) {
        let Some(subscriber) = self.clients.subscriber_mut(id) else { return };
        let parked = self.feeds.get_mut(subscriber.feed).and_then(|feed| feed.parked.remove(&id));
        let waker = parked.or_else(|| self.leave_group(id));
        self.wakeups.woken.extend(waker);
    }

    /// Dissolves a group that fell behind its feed, in a bounded step. Returns true if members remain: it must be read again.
    fn dissolve(&mut self, key: FeedKey, reader: ReaderId) -> bool {
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
