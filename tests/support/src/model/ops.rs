//! What can happen to the bus. How such things are made up is left to whoever tries them.

use sse_bus::{
    bus::Format,
    limits::{Limits, Retention},
    protocol::Slow,
};

/// One of a list whose length is known only when it is needed.
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

/// The bounds of a bus, and what there is to subscribe to.
#[derive(Clone, Debug)]
pub struct Setup {
    pub retention: Retention,
    pub limits: Limits,
    /// Whether history is on disk, and what the newest events may cost that stay in memory.
    pub on_disk: Option<usize>,
    /// Filters and formats. Often there are few, so that subscribers share a feed.
    pub feeds: Vec<(usize, Format)>,
}

/// Something that happens. Clients and topics are meant by their place in a list.
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
    /// Many events to one topic; 5000 are more than one read looks at.
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
        /// Who reads for it.
        reader: Option<usize>,
    },
    /// Several come to one feed, and read until there is nothing more.
    Crowd {
        feed: Index,
        many: usize,
        slow: Slow,
        reader: usize,
    },
    /// One call.
    Read {
        who: Index,
    },
    /// Until there is nothing more.
    Drain {
        who: Index,
    },
    /// All read until there is nothing more.
    DrainAll,
    /// One read of a group that a reader is called for.
    ReadGroup {
        reader: usize,
        group: Index,
    },
    /// A reader reads its groups until there is nothing more.
    DrainGroups {
        reader: usize,
    },
    /// A reader takes somebody out of its group, who has to read alone then.
    LeaveGroup {
        who: Index,
    },
    /// Leave, and come back with an id that was received.
    Resume {
        who: Index,
        from: Index,
    },
    /// Leave, and come back with the last id that was received.
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
    /// Other bounds of history count from now on.
    Configure(Retention),
    /// So many ticks that everybody's heartbeat is due.
    Heartbeats,
}

#[derive(Clone, Copy, Debug)]
pub enum Retain {
    No,
    Yes,
    /// Retain nothing in place of what is there.
    Clear,
}

/// How much data, and of what kind.
#[derive(Clone, Copy, Debug)]
pub enum Size {
    Small,
    /// With all three line breaks.
    Lines,
    /// Two of them fill a read.
    Big,
}

/// Who is addressed.
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
    /// An id that was not given out yet.
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
/// `c02` is almost an id, and nevertheless a name.
pub const NAMES: [&str; 3] = ["ada", "bob", "c02"];
pub const GARBAGE: [&str; 4] = ["", "x", "e-01", "\u{1F600}-7"];
pub const READERS: usize = 2;
