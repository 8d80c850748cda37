//! Reading the next bytes of a subscriber.

use std::task::Waker;

use bytes::Bytes;

use super::{
    Bus, Now,
    clients::{PositionDue, Role, Worker},
    cursor::Position,
    ids::ClientId,
    output::Output,
    read_steps::{ReadContext, Step},
};
use crate::{limits::DELIVER_MAX, protocol::sse};

/// The result of a [`Bus::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// There may be more to read after these bytes (possibly none): read again.
    Ready,
    /// There is nothing more to read now; the waker is woken when there is.
    Waiting,
    /// There is more to read, which is not in memory: it is [wanted](super::fetch). The waker is woken when it is here.
    Fetching,
    /// The subscription has ended, and these are its last bytes: it was for history only, or the client was removed.
    Ended,
}

impl Bus {
    /// Appends a client's next bytes to `out`: at most about [`DELIVER_MAX`], unless one event is larger. A publisher has no
    /// bytes; its waker is woken when it is kicked. A worker [takes deliveries](Bus::take) instead.
    pub fn read(&mut self, id: ClientId, now: Now, waker: &Waker, out: &mut Vec<Bytes>) -> Read {
        self.leave_shared_cursor(id);
        let is_behind = self.is_behind();
        self.evict_more(now);
        let (horizon, head) = (self.horizon(), self.position());
        let Some(client) = self.clients.get_mut(id) else { return Read::Ended };
        let subscriber = match &mut client.role {
            Role::Subscriber(subscriber) => subscriber,
            Role::Publisher { waker: kick_waker, .. }
            | Role::Worker { worker: Worker::Elsewhere { waker: kick_waker, .. }, .. } => {
                *kick_waker = Some(waker.clone());
                return Read::Waiting;
            }
            Role::Worker { worker: Worker::Here(_), .. } => return Read::Ended,
        };
        let key = subscriber.feed;
        self.feeds.seal(key, &self.limits);
        let Some(format) = self.feeds.get(key).map(|feed| feed.format) else { return Read::Ended };
        let (stats, buffer) = (&mut self.stats, std::mem::take(&mut self.buffer));
        let framing = self.wakeups.framing_of(subscriber.reader);
        let sent = subscriber.sent;
        let mut output = Output {
            client: id,
            head,
            format,
            framing,
            out,
            buffer,
            most: self.replay.read_size(),
            replay: &mut self.replay,
            bytes: 0,
            events: 0,
            gaps: 0,
            sent,
            time: now.unix,
            stats,
        };
        if std::mem::take(&mut subscriber.is_heartbeat_due) && format.has_heartbeat() {
            output.buffer.payload().extend_from_slice(sse::HEARTBEAT);
        }
        if subscriber.position_due == PositionDue::First {
            match (&subscriber.cursor.position, subscriber.cursor.resume_seq()) {
                // It is sent when the first event is found.
                (Position::Snapshot(_), _) => {}
                (_, Some(seq)) => output.first_position(seq, subscriber, PositionDue::WhenOld),
                (_, None) => subscriber.position_due = PositionDue::WhenOld,
            }
        }

        let mut context = ReadContext {
            feeds: &mut self.feeds,
            limits: &self.limits,
            topics: &self.topics,
            history: &*self.history,
            is_behind,
            head,
            now,
            output,
        };
        let step = context.fill(key, subscriber);
        let mut output = context.output;
        subscriber.sent = subscriber.sent.max(output.sent);
        if matches!(step, Step::Idle)
            && (subscriber.position_due == PositionDue::AfterSnapshot || subscriber.needs_position(0, horizon))
        {
            output.position(self.head, subscriber);
            (subscriber.position_due, subscriber.sent) = (PositionDue::WhenOld, self.head);
        }
        output.flush();
        let Output { bytes, events, gaps, buffer, .. } = output;
        self.buffer = buffer;
        self.buffer.shrink_to(2 * DELIVER_MAX);
        self.stats.delivered += events;
        self.stats.delivered_bytes += bytes as u64;
        client.events += events;
        client.gaps += gaps;
        match step {
            Step::Continue | Step::Pause => Read::Ready,
            Step::Idle => {
                self.park(id, waker);
                Read::Waiting
            }
            Step::Wanted(seq) => {
                self.want(id, seq, waker);
                Read::Fetching
            }
            Step::Ended => {
                self.disconnect(id, now);
                Read::Ended
            }
            Step::TooSlow => {
                self.disconnect_slow(id, now);
                Read::Ended
            }
        }
    }
}
