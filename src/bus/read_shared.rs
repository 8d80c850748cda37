//! Shared cursors: subscribers of one feed that have read everything, and have the same reader, share one cursor.
//!
//! A thousand subscribers of a feed receive the same bytes next, so these are read once. The reader of a shared cursor (a shard
//! of the daemon's fan-out) is woken once for all members, takes the members and the bytes under one lock, and sends the bytes
//! to each. A client leaves its shared cursor when it is woken alone (for a unicast event, or its end), when it reads for
//! itself, and when its reader finds that it does not keep up. It then has its own cursor at the position of the shared cursor,
//! and rejoins once it has read everything.
//!
//! A shared cursor is bounded like any cursor: if it falls behind its feed, it is dissolved, and each member continues
//! by its own policy for slow subscribers.

use std::task::Waker;

use bytes::Bytes;

use super::{
    Bus,
    clients::Role,
    cursor::{Membership, Position},
    feed::Next,
    framing::Framing,
    ids::{ClientId, FeedKey, ReaderId, SharedCursorId},
    wakeups::Reader,
};
use crate::limits::{CALLS_MAX, DELIVER_MAX};

impl Bus {
    /// Adds a reader, which is never removed. Its waker is woken when there are [shared cursors](Bus::called_cursors) to read
    /// for, or [heartbeats](Bus::called_heartbeats) to send. All bytes for its clients have the same framing.
    pub fn add_reader(&mut self, waker: Waker, framing: Framing) -> ReaderId {
        self.wakeups.readers.push(Reader { waker, framing, called: Vec::new(), heartbeats: Vec::new() });
        ReaderId(self.wakeups.readers.len() - 1)
    }

    /// Assigns a subscriber to a reader. Once the subscriber's own [reads](Bus::read) have returned everything, it joins the
    /// shared cursor of the reader's clients with the same feed; the waker of its last read is woken when it must read for
    /// itself again.
    ///
    /// Call this before the client's first read, since the framing of the reader applies to all of its bytes.
    ///
    /// Returns the shared cursor that it will join, or None if the client is not a subscriber, or not connected any more.
    pub fn assign(&mut self, id: ClientId, reader: ReaderId) -> Option<SharedCursorId> {
        self.leave_shared_cursor(id);
        let subscriber = self.clients.subscriber_mut(id)?;
        subscriber.reader = Some(reader);
        Some(SharedCursorId { feed: subscriber.feed, reader })
    }

    /// Takes the shared cursors that have something to read. [Read](Bus::read_shared) each to its end; until then its reader is
    /// not woken for it again.
    pub fn called_cursors(&mut self, reader: ReaderId, called: &mut impl Extend<SharedCursorId>) {
        called.extend(&mut self.wakeups.readers[reader.0].called.drain(..));
    }

    /// Takes the clients on shared cursors whose heartbeats are due. A heartbeat is
    /// [`sse::HEARTBEAT`](crate::protocol::sse::HEARTBEAT).
    pub fn called_heartbeats(&mut self, reader: ReaderId) -> Vec<ClientId> {
        std::mem::take(&mut self.wakeups.readers[reader.0].heartbeats)
    }

    /// Appends the next bytes of a shared cursor to `out`, at most about [`DELIVER_MAX`] unless one event is larger, and its
    /// members to `members`. Each member must be sent all of the bytes. Returns true if there may be more to read.
    pub fn read_shared(&mut self, shared: SharedCursorId, members: &mut Vec<ClientId>, out: &mut Vec<Bytes>) -> bool {
        let SharedCursorId { feed: key, reader } = shared;
        let framing = self.wakeups.framing_of(Some(reader));
        self.feeds.seal(key, &self.limits);
        let Some(feed) = self.feeds.get_mut(key) else { return false };
        let Some(shared) = feed.shared_cursor_mut(Some(reader)) else { return false };
        shared.is_woken = false;
        if shared.members.is_empty() {
            return false;
        }
        let start = shared.segment;
        let (mut next, mut seq, mut bytes, mut events, mut delivered) = (start, shared.seq, 0, 0, shared.delivered);
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
        if let Some(shared) = feed.shared_cursor_mut(Some(reader)) {
            (shared.segment, shared.seq, shared.is_woken, shared.delivered) = (next, seq, more, delivered);
            shared.events += events;
            members.extend(&shared.members);
            self.stats.delivered += events * shared.members.len() as u64;
            self.stats.delivered_bytes += (bytes * shared.members.len()) as u64;
        }
        (start..next).for_each(|segment| self.feeds.advance(key, segment));
        more
    }

    /// Removes a client from its shared cursor, if it has one: it must then [read](Bus::read) for itself. Returns its waker.
    pub fn leave_shared_cursor(&mut self, id: ClientId) -> Option<Waker> {
        let client = self.clients.get_mut(id)?;
        let Role::Subscriber(subscriber) = &mut client.role else { return None };
        let position = &mut subscriber.cursor.position;
        let Position::Shared(Membership { index, .. }) = *position else { return None };
        let (key, reader) = (subscriber.feed, subscriber.reader);
        let shared = self.feeds.get_mut(key)?.shared_cursor_mut(reader)?;
        shared.members.swap_remove(index);
        let (moved, segment) = (shared.members.get(index).copied(), shared.segment);
        subscriber.sent = subscriber.sent.max(shared.delivered);
        let Position::Shared(membership) = std::mem::replace(position, Position::Live { segment, seq: shared.seq })
        else {
            unreachable!("it has just been there")
        };
        client.events += shared.events - membership.since;
        if !shared.members.is_empty() {
            // The last member takes over the position of the shared cursor in the feed.
            self.feeds.enter(key, segment);
        }
        if let Some(moved) = moved.and_then(|moved| self.clients.subscriber_mut(moved))
            && let Position::Shared(membership) = &mut moved.cursor.position
        {
            membership.index = index;
        }
        Some(membership.waker)
    }

    /// Makes a client that has read everything wait: on the shared cursor of its reader, or alone if it has no reader, or if
    /// the shared cursor has not read everything yet.
    pub(super) fn park(&mut self, id: ClientId, waker: &Waker) {
        let Some(subscriber) = self.clients.subscriber_mut(id) else { return };
        let key = subscriber.feed;
        let Some(feed) = self.feeds.get_mut(key) else { return };
        let end = feed.end();
        let reader = subscriber.reader.filter(|_| !subscriber.past_only);
        let shared = reader.map(|reader| feed.shared_cursor_or_new(reader));
        let Some(shared) = shared.filter(|shared| shared.members.is_empty() || shared.segment == end) else {
            feed.parked.insert(id, waker.clone());
            return;
        };
        let is_first = shared.members.is_empty();
        (shared.segment, shared.seq) = (end, self.head);
        let membership = Membership { index: shared.members.len(), since: shared.events, waker: waker.clone() };
        shared.members.push(id);
        subscriber.cursor.position = Position::Shared(membership);
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
        let waker = parked.or_else(|| self.leave_shared_cursor(id));
        self.wakeups.woken.extend(waker);
    }

    /// Dissolves a shared cursor that fell behind its feed, in a bounded step. Returns true if members remain: it must be read
    /// again.
    fn dissolve(&mut self, key: FeedKey, reader: ReaderId) -> bool {
        let shared = self.feeds.get(key).and_then(|feed| feed.shared_cursor(Some(reader)));
        let Some(members) = shared.map(|shared| &shared.members) else { return false };
        let some: Vec<_> = members.iter().rev().take(CALLS_MAX).copied().collect();
        let is_woken = some.len() < members.len();
        for member in some {
            self.wake(member);
        }
        if let Some(shared) = self.feeds.get_mut(key).and_then(|feed| feed.shared_cursor_mut(Some(reader))) {
            shared.is_woken = is_woken;
        }
        is_woken
    }
}
