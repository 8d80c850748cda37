//! Reading: the bytes that a subscriber gets next.

use std::{
    collections::{HashSet, VecDeque},
    task::Waker,
};

use bytes::Bytes;

use super::{
    Bus, ClientId, Format, Now, Stats,
    clients::{Role, Subscriber},
    cursor::{Aside, Cursor, Past, Place, jump},
    feeds::{FeedKey, Feeds, Next},
    fetch::{Found, find},
    history::{Entry, History, TopicKey},
};
use crate::{
    event::{Event, EventId},
    limits::{DELIVER_MAX, Limits, SCAN_MAX},
    protocol::{Gap, GapReason, Slow, sse},
};

/// What came of a [`Bus::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// There may be more behind these bytes, of which there may be none; read again after them.
    Ready,
    /// There is nothing more behind these bytes; the waker is called when there is.
    Waiting,
    /// The subscription is over after these bytes: the past is told, or the client was removed.
    Over,
}

/// Where a read puts its bytes: shared segments as they are, everything else into one buffer between them.
struct Output<'a> {
    format: Format,
    out: &'a mut Vec<Bytes>,
    /// Kept by the bus for the next read, so that it need not grow again.
    buffer: Vec<u8>,
    bytes: usize,
    events: u64,
    gaps: u64,
    time: u64,
    stats: &'a mut Stats,
}

impl Output<'_> {
    fn is_full(&self) -> bool {
        self.bytes + self.buffer.len() >= DELIVER_MAX
    }

    fn share(&mut self, bytes: Bytes) {
        self.flush();
        self.bytes += bytes.len();
        self.out.push(bytes);
    }

    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.bytes += self.buffer.len();
            self.out.push(Bytes::copy_from_slice(&self.buffer));
            self.buffer.clear();
        }
    }

    fn event(&mut self, event: &Event) {
        self.format.encode(event, &mut self.buffer);
        self.events += 1;
    }

    /// Tells a gap. Its id must be lower than that of the event that comes next, be it from history or unicast.
    fn gap(&mut self, gap: &Gap, next: u64, subscriber: &Subscriber) {
        let next = subscriber.unicast.front().map_or(next, |(unicast, _)| next.min(*unicast));
        let id = EventId { seq: gap.to.seq.min(next - 1), ..gap.to };
        self.format.encode_gap(gap, id, self.time, &mut self.buffer);
        self.gaps += 1;
        let reason = Stats::GAP_REASONS.iter().position(|reason| *reason == gap.reason);
        self.stats.gaps[reason.unwrap_or_default()] += 1;
    }

    /// The unicast events that stand before an event.
    fn unicast_before(&mut self, seq: u64, subscriber: &mut Subscriber) {
        while let Some((_, bytes)) = subscriber.unicast.pop_front_if(|(first, _)| *first < seq) {
            subscriber.unicast_bytes -= bytes.len();
            self.share(bytes);
            self.events += 1;
        }
    }
}

impl Bus {
    /// Gives a client's next bytes: about [`DELIVER_MAX`] of them at most, unless one event is larger. A publisher has
    /// none; reading it tells when it is kicked.
    pub fn read(&mut self, id: ClientId, now: Now, waker: &Waker, out: &mut Vec<Bytes>) -> Read {
        self.leave_group(id);
        let is_behind = self.is_behind();
        self.catch_up(now);
        let Some(client) = self.clients.get_mut(id) else { return Read::Over };
        let subscriber = match &mut client.role {
            Role::Subscriber(subscriber) => subscriber,
            Role::Publisher { waker: place, .. } => {
                *place = Some(waker.clone());
                return Read::Waiting;
            }
        };
        let key = subscriber.feed;
        self.feeds.seal(key, &self.limits);
        let Some(format) = self.feeds.get(key).map(|feed| feed.format) else { return Read::Over };
        let (stats, buffer) = (&mut self.stats, std::mem::take(&mut self.buffer));
        let mut output = Output { format, out, buffer, bytes: 0, events: 0, gaps: 0, time: now.unix, stats };
        if std::mem::take(&mut subscriber.heartbeat) && format.has_heartbeat() {
            output.share(Bytes::from_static(sse::HEARTBEAT));
        }

        let mut reader = Reader {
            feeds: &mut self.feeds,
            limits: &self.limits,
            history: &*self.history,
            is_behind,
            head: EventId { epoch: self.epoch, seq: self.head },
            now,
            output,
        };
        let step = reader.fill(key, subscriber);
        let Output { bytes, events, gaps, buffer, .. } = reader.output;
        self.buffer = buffer;
        self.buffer.shrink_to(2 * DELIVER_MAX);
        self.stats.delivered += events;
        self.stats.delivered_bytes += bytes as u64;
        client.events += events;
        client.gaps += gaps;
        match step {
            Step::On | Step::Pause => Read::Ready,
            Step::Idle => {
                self.settle(id, waker);
                Read::Waiting
            }
            Step::OnDisk(seq) => {
                self.want(id, seq, waker);
                Read::Waiting
            }
            Step::Over => {
                self.disconnect(id, now);
                Read::Over
            }
            Step::TooSlow => {
                self.disconnect_slow(id, now);
                Read::Over
            }
        }
    }
}

/// How a read goes on.
enum Step {
    On,
    /// There is nothing more to read now.
    Idle,
    /// So much of history was looked at, or has to go before it is read on, that others have their turn.
    Pause,
    /// This event comes next and is on disk only.
    OnDisk(u64),
    /// The past is told, and no more was wanted.
    Over,
    /// The subscriber was left behind and wanted to be disconnected then.
    TooSlow,
}

/// One read: what it reads from, and what it puts out.
struct Reader<'a> {
    feeds: &'a mut Feeds,
    limits: &'a Limits,
    history: &'a dyn History,
    /// History had something to let go first. It is read next time, if that was all.
    is_behind: bool,
    head: EventId,
    now: Now,
    output: Output<'a>,
}

impl Reader<'_> {
    /// Reads until the output is full or something else than `Step::On` comes.
    fn fill(&mut self, key: FeedKey, subscriber: &mut Subscriber) -> Step {
        let mut step = Step::On;
        while matches!(step, Step::On) && !self.output.is_full() {
            step = if let Some(aside) = subscriber.cursor.aside.pop_front() {
                self.aside(aside, subscriber)
            } else if let Place::Live { segment, seq } = subscriber.cursor.place {
                self.live(key, segment, seq, subscriber)
            } else {
                self.past(key, subscriber)
            };
        }
        self.output.flush();
        step
    }

    fn aside(&mut self, aside: Aside, subscriber: &mut Subscriber) -> Step {
        match aside {
            Aside::Event(entry) => {
                let fetched = subscriber.cursor.fetched.clone();
                match find(&entry, fetched.as_deref()) {
                    Found::Here(event) => {
                        self.output.unicast_before(entry.seq, subscriber);
                        self.output.event(event);
                    }
                    Found::OnDisk => {
                        let seq = entry.seq;
                        subscriber.cursor.aside.push_front(Aside::Event(entry));
                        return Step::OnDisk(seq);
                    }
                    Found::Lost => {
                        let id = EventId { seq: entry.seq, ..self.head };
                        let gap = Gap { reason: GapReason::Evicted, missed: Some(1), from: id, to: id };
                        self.output.gap(&gap, entry.seq + 1, subscriber);
                    }
                }
            }
            Aside::Gap(gap, next) => self.output.gap(&gap, next, subscriber),
        }
        Step::On
    }

    fn live(&mut self, key: FeedKey, segment: u64, seq: u64, subscriber: &mut Subscriber) -> Step {
        let Some(feed) = self.feeds.get(key) else { return Step::Over };
        match feed.peek(segment) {
            Next::Segment(found) => {
                subscriber.cursor.place = Place::Live { segment: segment + 1, seq: found.last };
                self.output.unicast_before(found.first, subscriber);
                self.output.events += found.events;
                self.output.share(found.bytes);
                self.feeds.advance(key, segment);
            }
            Next::Nothing => {
                self.output.unicast_before(u64::MAX, subscriber);
                subscriber.cursor.place = Place::Live { segment, seq: self.head.seq };
                subscriber.cursor.fetched = None;
                return Step::Idle;
            }
            Next::LeftBehind if self.is_behind => return Step::Pause,
            Next::LeftBehind if subscriber.slow == Slow::Disconnect => return Step::TooSlow,
            Next::LeftBehind => {
                let topics = &feed.topics;
                let place = if subscriber.slow == Slow::Latest {
                    subscriber.cursor.aside = jump(seq, self.history, topics, self.now.mono, self.head.epoch);
                    Place::Live { segment: self.feeds.join(key, self.limits), seq: self.head.seq }
                } else {
                    Place::Past(Past::after(seq, GapReason::Lagged).into())
                };
                subscriber.cursor.place = place;
                self.feeds.leave(key, segment);
            }
        }
        Step::On
    }

    fn past(&mut self, key: FeedKey, subscriber: &mut Subscriber) -> Step {
        if self.is_behind {
            return Step::Pause;
        }
        // The past is taken out so that the subscriber's unicast events can be woven in.
        let aside = Place::Live { segment: 0, seq: 0 };
        let (Some(feed), Place::Past(mut past)) =
            (self.feeds.get(key), std::mem::replace(&mut subscriber.cursor.place, aside))
        else {
            return Step::Over;
        };
        let came_to = past.read(self.history, &feed.topics, self.head, self.now, subscriber, &mut self.output);
        match came_to {
            CameTo::Head if subscriber.past_only => {
                subscriber.cursor.place = Place::Past(past);
                self.output.format.encode_end(self.head, &mut self.output.buffer);
                Step::Over
            }
            CameTo::Head => {
                let segment = self.feeds.join(key, self.limits);
                subscriber.cursor = Cursor::new([].into(), Place::Live { segment, seq: self.head.seq });
                Step::On
            }
            CameTo::Pause => {
                subscriber.cursor.place = Place::Past(past);
                Step::Pause
            }
            CameTo::Disk(seq) => {
                subscriber.cursor.place = Place::Past(past);
                Step::OnDisk(seq)
            }
        }
    }
}

/// How far a read of history came.
enum CameTo {
    Head,
    Pause,
    Disk(u64),
}

impl Past {
    /// Reads on in history.
    fn read(
        &mut self,
        history: &dyn History,
        topics: &HashSet<TopicKey>,
        head: EventId,
        now: Now,
        subscriber: &mut Subscriber,
        output: &mut Output<'_>,
    ) -> CameTo {
        self.note_losses(history, topics, now.mono, head.epoch);
        let fetched = subscriber.cursor.fetched.clone();
        let (begin, mut after) = (self.after, self.after);
        let (mut wanted, mut kept) = (None, std::mem::take(&mut self.kept));
        let mut show = |entry: &Entry| {
            if output.is_full() {
                return false;
            }
            self.note_torn(history, after, entry.seq, head.epoch);
            match find(entry, fetched.as_deref()) {
                Found::Here(event) => {
                    if let Some(gap) = self.gap.take() {
                        output.gap(&gap, entry.seq, subscriber);
                    }
                    output.unicast_before(entry.seq, subscriber);
                    output.event(event);
                }
                Found::OnDisk => {
                    wanted = Some(entry.seq);
                    return false;
                }
                Found::Lost => self.miss(entry.seq, entry.seq, Some(1), head.epoch),
            }
            after = entry.seq;
            true
        };
        let stopped = history.scan(topics, begin, now.mono, SCAN_MAX, &mut |entry| {
            show_before(entry.seq, &mut kept, &mut show) && show(entry)
        });
        let finished = stopped.is_none() && show_before(u64::MAX, &mut kept, &mut show);
        self.kept = kept;
        let reached = if finished { head.seq } else { stopped.unwrap_or(0).max(after) };
        self.note_torn(history, after, reached, head.epoch);
        self.after = reached;
        if let Some(seq) = wanted {
            return CameTo::Disk(seq);
        }
        if !finished {
            return CameTo::Pause;
        }
        if let Some(gap) = self.gap.take() {
            output.gap(&gap, u64::MAX, subscriber);
        }
        output.unicast_before(u64::MAX, subscriber);
        CameTo::Head
    }
}

/// Shows what was kept from before an event. Says whether all of it was shown.
fn show_before(seq: u64, kept: &mut VecDeque<Entry>, show: &mut dyn FnMut(&Entry) -> bool) -> bool {
    while let Some(entry) = kept.front().filter(|entry| entry.seq < seq) {
        if !show(entry) {
            return false;
        }
        kept.pop_front();
    }
    true
}
