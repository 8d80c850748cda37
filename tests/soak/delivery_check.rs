//! What a subscriber must get, checked as it comes: every event of every publisher that its filter lets through, once and
//! in order, but for what gaps tell. Nothing is kept of what was right, so it can go on for ever.

use sse_bus::{
    EventId,
    protocol::{Gap, GapReason},
};

/// Publishers, each with a count of its own.
pub(crate) const PUBLISHERS: usize = 4;
/// Topics of a publisher.
const SLOTS: u64 = 4;
/// Where the last event of each publisher goes, to a topic of its own: who jumps to the newest of each topic gets all.
const ENDS: &str = "soak/end/*";

/// The topic of a publisher's event.
pub(crate) fn topic(publisher: usize, n: u64) -> String {
    format!("soak/{publisher}/{}", n % SLOTS)
}

/// The data of a publisher's event, by which it is known again. Those of the last publisher are large.
pub(crate) fn data(publisher: usize, n: u64) -> String {
    let padding = n * 7919 % if publisher == PUBLISHERS - 1 { 4000 } else { 300 };
    format!("{publisher} {n} {}", "x".repeat(padding as usize))
}

/// The topic and data of a publisher's last event, after so many others.
pub(crate) fn end(publisher: usize, events: u64) -> (String, String) {
    (ENDS.replace('*', &publisher.to_string()), format!("{publisher} {events} end"))
}

/// What a subscriber wants.
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

/// One subscriber's account.
pub(crate) struct DeliveryCheck {
    name: String,
    wanted: Wanted,
    /// The last id, and the place to go on from.
    pub(crate) last: EventId,
    /// Of each publisher the event that comes next, and the number of the last that came.
    next: [(u64, u64); PUBLISHERS],
    ended: usize,
    /// Up to where a gap tells that something is missing.
    excused: u64,
    pub(crate) events: u64,
    pub(crate) gaps: u64,
    pub(crate) lost: u64,
    /// How many are missing, as gaps tell it; nothing once one did not know.
    told: Option<u64>,
}

impl DeliveryCheck {
    /// An account that begins after an event, with nothing missed.
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
            told: Some(0),
        }
    }

    /// Whether the last event of every publisher has come.
    pub(crate) fn is_over(&self) -> bool {
        self.ended == PUBLISHERS
    }

    /// An event came.
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
        let is_told = before < self.excused;
        assert!(lost == 0 || is_told, "{name}: {lost} of publisher {publisher} before {n} ({id}) were lost silently");
        self.lost += lost;
        self.ended += usize::from(is_end);
        self.next[publisher] = (n + 1, id.seq);
    }

    /// A gap came.
    pub(crate) fn gap(&mut self, id: EventId, gap: &Gap) {
        // A gap's place is behind what was delivered before it.
        assert!(id.seq >= self.last.seq, "{}: the gap {id} after {}", self.name, self.last);
        self.last = id;
        self.gaps += 1;
        self.excused = self.excused.max(gap.to.seq);
        self.told = self.told.zip(gap.missed).map(|(all, here)| all + here);
        assert!(matches!(gap.reason, GapReason::Evicted | GapReason::Lagged), "{}: {gap:?}", self.name);
    }

    /// The subscriber comes back: it may be told again of a gap that it was told of last.
    pub(crate) fn reconnects(&mut self) {
        if self.last.seq <= self.excused {
            self.told = None;
        }
    }

    /// Checks the sum at the end.
    pub(crate) fn close(&self) {
        assert!(self.is_over(), "{}: it has not seen the end", self.name);
        let told = self.told.unwrap_or(self.lost);
        assert_eq!(told, self.lost, "{}: so many were told as missing, and so many were", self.name);
    }
}
