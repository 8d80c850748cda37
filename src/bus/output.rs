//! The output of a read: the bytes for one subscriber.

use bytes::Bytes;

use super::{
    clients::{PositionDue, Subscriber},
    cursor::Position,
    format::Format,
    framing::{Chunk, ChunkBuffer, Framing},
    ids::ClientId,
    replay::ReplayBuffers,
    stats::Stats,
    unicast_queue::Moment,
};
use crate::{
    event::{Event, EventId},
    protocol::{Gap, sse},
};

/// Collects the bytes of a read: shared segments as they are, and everything between them in one buffer.
pub(super) struct Output<'a> {
    pub(super) client: ClientId,
    /// The position of the log.
    pub(super) head: EventId,
    pub(super) format: Format,
    pub(super) framing: Framing,
    pub(super) out: &'a mut Vec<Bytes>,
    /// The bus keeps it for the next read, to reuse its memory.
    pub(super) buffer: ChunkBuffer,
    pub(super) replay: &'a mut ReplayBuffers,
    /// The number of bytes at which it is full.
    pub(super) most: usize,
    pub(super) bytes: usize,
    pub(super) events: u64,
    pub(super) gaps: u64,
    /// The newest id of the events and positions.
    pub(super) sent: u64,
    pub(super) time: u64,
    pub(super) stats: &'a mut Stats,
}

impl Output<'_> {
    pub(super) fn is_full(&self) -> bool {
        self.bytes + self.buffer.len() >= self.most
    }

    /// Adds a shared chunk, without a copy.
    pub(super) fn share(&mut self, chunk: &Chunk) {
        self.flush();
        self.push(chunk.bytes(self.framing));
    }

    /// Moves the content of the buffer to the output.
    pub(super) fn flush(&mut self) {
        if !self.buffer.is_empty() {
            let bytes = self.buffer.take(self.framing);
            self.push(self.replay.copied(bytes));
        }
    }

    fn push(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.out.push(bytes);
    }

    /// Adds an event of history.
    pub(super) fn event(&mut self, event: &Event) {
        if let Some(bytes) = self.replay.shared(event, self.format, self.framing) {
            self.flush();
            self.push(bytes);
        } else {
            self.format.encode(event, self.buffer.payload());
        }
        self.events += 1;
        self.sent = event.id.seq;
    }

    /// Adds the position of the stream.
    pub(super) fn position(&mut self, seq: u64, subscriber: &Subscriber) {
        let check = match &subscriber.cursor.position {
            Position::History(cursor) if cursor.after == seq => cursor.check,
            _ => None,
        };
        let position = if seq == self.head.seq { self.head } else { EventId { check, ..self.head.at(seq) } };
        sse::encode_position(subscriber.position_form, &self.client, position, self.buffer.payload());
        self.sent = seq;
    }

    /// Adds the first position, unless it was sent before. `then` is when the position is due next.
    pub(super) fn first_position(&mut self, seq: u64, subscriber: &mut Subscriber, then: PositionDue) {
        if subscriber.position_due == PositionDue::First {
            subscriber.position_due = then;
            self.position(seq, subscriber);
        }
    }

    /// Adds a gap. Its id must be lower than that of the next event.
    pub(super) fn gap(&mut self, gap: &Gap, next: u64) {
        let id = if gap.to.seq < next { gap.to } else { gap.to.at(next - 1) };
        self.format.encode_gap(gap, id, self.time, self.buffer.payload());
        self.gaps += 1;
        self.sent = id.seq;
        let reason = Stats::GAP_REASONS.iter().position(|reason| *reason == gap.reason);
        self.stats.gaps[reason.unwrap_or_default()] += 1;
    }

    /// Adds the waiting unicast events as long as `is_next` returns true for the moment of their publication.
    pub(super) fn unicast(&mut self, subscriber: &mut Subscriber, is_next: impl Fn(Moment) -> bool) {
        while let Some(chunk) = subscriber.unicast.pop_if(&is_next) {
            self.share(&chunk);
            self.events += 1;
        }
    }
}
