//! Operations on the bus. Generators of them are elsewhere.

use sse_bus::{bus::Format, limits::Limits, protocol::Slow, retention::Retention};

/// An index into a list whose length is known when it is used.
#[derive(Clone, Copy, Debug)]
pub struct Index(pub u16);

impl Index {
    pub fn index(self, length: usize) -> usize {
        usize::from(self.0) % length
    }

    pub fn get<T>(self, list: &[T]) -> &T {
        &list[self.index(list.len())]
    }
}

/// The bounds of a bus, and its feeds.
#[derive(Clone, Debug)]
pub struct Setup {
    pub retention: Retention,
    pub limits: Limits,
    /// `Some` if history is on disk, with the bytes of the newest events that stay in memory.
    pub on_disk: Option<usize>,
    /// `Some` if the bus has a window of a log elsewhere, with the number of events in the window.
    pub window: Option<usize>,
    /// Filters and formats. Often there are few, so that subscribers share a feed.
    pub feeds: Vec<(usize, Format)>,
}

/// An operation. Clients and topics are given by their index in a list.
#[derive(Clone, Debug)]
pub enum Op {
    Publish {
        topic: usize,
        size: Size,
        retain: Retain,
        ttl_ms: Option<u64>,
    },
    /// One event to each of forty topics.
    PublishToMany,
    /// Many events to one topic; 5000 are more than one read scans.
    Burst {
        topic: usize,
        events: usize,
        size: Size,
    },
    Unicast {
        to: To,
        size: Size,
    },
    Subscribe {
        feed: Index,
        since: Since,
        slow: Slow,
        name: Option<usize>,
        past_only: bool,
        /// The reader that it is assigned to.
        reader: Option<usize>,
    },
    /// Several subscribers join one feed, and read everything.
    Crowd {
        feed: Index,
        many: usize,
        slow: Slow,
        reader: usize,
    },
    /// One read.
    Read {
        who: Index,
    },
    /// Reads everything.
    Drain {
        who: Index,
    },
    /// All subscribers read everything.
    DrainAll,
    /// One read of a shared cursor that is due for a reader.
    ReadShared {
        reader: usize,
        shared: Index,
    },
    /// A reader reads its shared cursors until they have nothing more.
    DrainGroups {
        reader: usize,
    },
    /// A reader removes a member from its shared cursor, which then reads alone.
    LeaveSharedCursor {
        who: Index,
    },
    /// Disconnect, and resume from a received id.
    Resume {
        who: Index,
        from: Index,
    },
    /// Disconnect, and resume from the last received id.
    ResumeLast {
        who: Index,
    },
    Disconnect {
        who: Index,
    },
    Kick {
        to: To,
    },
    Pass {
        ms: u64,
    },
    Tick,
    /// Other bounds of history apply from now on.
    Configure(Retention),
    /// Enough ticks that every subscriber's heartbeat is due.
    Heartbeats,
    /// The process ends, and a new one starts from disk.
    Restart,
}

#[derive(Clone, Copy, Debug)]
pub enum Retain {
    No,
    Yes,
    /// Remove the retained event.
    Clear,
}

/// The size and kind of the data.
#[derive(Clone, Copy, Debug)]
pub enum Size {
    Small,
    /// With all three line breaks.
    Lines,
    /// Two of them fill a read.
    Big,
}

/// The addressee.
#[derive(Clone, Debug)]
pub enum To {
    Id(Index),
    Name(usize),
}

/// Where a subscription begins.
#[derive(Clone, Debug)]
pub enum Since {
    None,
    Now,
    Latest,
    All,
    Last {
        ms: u64,
    },
    /// Any id up to the head.
    Seq(Index),
    /// An id that was not assigned yet.
    Beyond {
        by: u64,
    },
    OtherEpoch {
        seq: u64,
    },
    Garbage(usize),
}

pub const TOPICS: [&str; 5] = ["a", "a/b", "a/c", "b", "b/x/y"];
pub const FILTERS: [&[&str]; 10] = [
    &["**"],
    &["a"],
    &["a/**"],
    &["a/*", "b"],
    &["*"],
    &["*/*", "b/**"],
    &["a/b", "nothing/here"],
    &["$sys/clients"],
    &["$sys/*", "a/**"],
    &["m/*", "b"],
];
/// `c02` resembles an id, but is a name.
pub const NAMES: [&str; 3] = ["ada", "bob", "c02"];
pub const GARBAGE: [&str; 4] = ["", "x", "e-01", "\u{1F600}-7"];
pub const READERS: usize = 2;
