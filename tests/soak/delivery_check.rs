//! Checks a subscriber's events as they arrive: every matching event of every publisher, once and in order, except for
//! those that gaps cover. Correct events are not stored, so it can run for any time.

use sse_bus::{
    EventId,
    protocol::{Gap, GapReason},
};

/// Publishers, each with a count of its own.
pub(crate) const PUBLISHERS: usize = 4;
/// Topics of a publisher.
const SLOTS: u64 = 4;
/// The topics of the publishers' last events, one each: a subscriber that skips to the newest of each topic gets all.
const ENDS: &str = "soak/end/*";

/// The topic of a publisher's event.
pub(crate) fn topic(publisher: usize, n: u64) -> String {
    format!("soak/{publisher}/{}", n % SLOTS)
}

/// The data of a publisher's event, which identifies it. The events of the last publisher are large.
pub(crate) fn data(publisher: usize, n: u64) -> String {
    let padding = n * 7919 % if publisher == PUBLISHERS - 1 { 4000 } else { 300 };
    format!("{publisher} {n} {}", "x".repeat(padding as usize))
}

/// The topic and data of a publisher's last event, after this many others.
pub(crate) fn end(publisher: usize, events: u64) -> (String, String) {
    (ENDS.replace('*', &publisher.to_string()), format!("{publisher} {events} end"))
}

/// The filters of a subscriber.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    All,
    Publisher(usize),
    /// One topic of each publisher.
    Slot(u64),
}

impl Wanted {
    pub(crate) fn filters(self) -> Vec<String> {
        let filter = match self {
            Wanted::All => "soak/**".into(),
            Wanted::Publisher(publisher) => format!("soak/{publisher}/*"),
            Wanted::Slot(slot) => format!("soak/*/{slot}"),
        };
        vec![filter, ENDS.into()]
    }

    fn has(self, publisher: usize, n: u64) -> bool {
        match self {
            Wanted::All => true,
            Wanted::Publisher(wanted) => publisher == wanted,
            Wanted::Slot(slot) => n % SLOTS == slot,
        }
    }
}

/// The state of one subscriber's check.
pub(crate) struct DeliveryCheck {
    name: String,
    wanted: Wanted,
    /// The last id, from which to resume.
    pub(crate) last: EventId,
    /// For each publisher, the next expected event, and the sequence number of the last one received.
    next: [(u64, u64); PUBLISHERS],
    ended: usize,
    /// The last sequence number that a gap covers.
    excused: u64,
    pub(crate) events: u64,
    pub(crate) gaps: u64,
    pub(crate) lost: u64,
    /// Missing events according to gaps; `None` once a gap had no number.
    reported: Option<u64>,
}

impl DeliveryCheck {
    /// A check that begins after an event, with nothing missed.
    pub(crate) fn new(name: &str, wanted: Wanted, start: EventId) -> DeliveryCheck {
        let (next, name) = ([(0, 0); PUBLISHERS], name.to_owned());
        DeliveryCheck {
            name,
            wanted,
            last: start,
            next,
            ended: 0,
            excused: 0,
            events: 0,
            gaps: 0,
            lost: 0,
            reported: Some(0),
        }
    }

    /// Returns true if the last event of every publisher has arrived.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended == PUBLISHERS
    }

    /// Checks an event.
    pub(crate) fn event(&mut self, id: EventId, text: &str) {
        let name = &self.name;
        assert!(id.epoch == self.last.epoch && id.seq > self.last.seq, "{name}: {id} after {}", self.last);
        self.last = id;
        self.events += 1;
        let mut words = text.split(' ');
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (Some(publisher), Some(n)) = (number(), number()) else { panic!("{name}: {id} is unknown: {text:.80}") };
        let publisher = publisher as usize;
        let is_end = text == end(publisher, n).1;
        assert!(is_end || self.wanted.has(publisher, n), "{name}: {id} was not asked for: {text:.80}");
        assert!(is_end || text == data(publisher, n), "{name}: {id} is not what was published: {text:.80}");

        let (expected, before) = self.next[publisher];
        assert!(n >= expected, "{name}: {id} is {n} of publisher {publisher} where {expected} was due: twice, or late");
        let lost = (expected..n).filter(|n| self.wanted.has(publisher, *n)).count() as u64;
        let is_covered = before < self.excused;
        assert!(
            lost == 0 || is_covered,
            "{name}: {lost} of publisher {publisher} before {n} ({id}) were lost silently"
        );
        self.lost += lost;
        self.ended += usize::from(is_end);
        self.next[publisher] = (n + 1, id.seq);
    }

    /// Checks a gap.
    pub(crate) fn gap(&mut self, id: EventId, gap: &Gap) {
        // A gap's position is after everything that was delivered before it.
        assert!(id.seq >= self.last.seq, "{}: the gap {id} after {}", self.name, self.last);
        self.last = id;
        self.gaps += 1;
        self.excused = self.excused.max(gap.to.seq);
        self.reported = self.reported.zip(gap.missed).map(|(all, here)| all + here);
        assert!(matches!(gap.reason, GapReason::Evicted | GapReason::Lagged), "{}: {gap:?}", self.name);
    }

    /// Notes that the subscriber reconnects: it may receive its last gap again.
    pub(crate) fn reconnects(&mut self) {
        if self.last.seq <= self.excused {
            self.reported = None;
        }
    }

    /// Checks the totals at the end.
    pub(crate) fn close(&self) {
        assert!(self.has_ended(), "{}: it has not received the last events", self.name);
        let reported = self.reported.unwrap_or(self.lost);
        assert_eq!(reported, self.lost, "{}: events missing according to gaps, and in fact", self.name);
    }
}
