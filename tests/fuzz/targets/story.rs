//! A story read from bytes, so that a fuzzer can make one up. Every text of bytes is one, and a change to a byte is a
//! small change to it: each choice takes one byte, and what is not there is 0.

use std::time::Duration;

use sse_bus::{
    FilterSet,
    bus::Format,
    limits::Limits,
    protocol::Slow,
    retention::{Retention, TopicRule},
};

use crate::ops::{FILTERS, GARBAGE, Index, NAMES, Op, READERS, Retain, Setup, Since, Size, TOPICS, To};

/// The most that happens in one story. A long one finds little that many short ones do not, and takes their time.
const STEPS: usize = 20;

/// Reads a bus and operations on it. Each has a flag that continues the batch.
pub(crate) fn read(bytes: &[u8]) -> (Setup, Vec<(Op, bool)>) {
    let mut bytes = Bytes { rest: bytes, has_many_topics: false };
    let setup = bytes.setup();
    let mut steps = Vec::new();
    while !bytes.rest.is_empty() && steps.len() < STEPS {
        steps.push(bytes.step());
    }
    (setup, steps)
}

struct Bytes<'a> {
    rest: &'a [u8],
    /// Few stories do, because every step of theirs takes long.
    has_many_topics: bool,
}

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// An index below this number.
    fn below(&mut self, many: usize) -> usize {
        usize::from(self.byte()) % many
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A bound: none, or a tight one in steps.
    fn bound(&mut self, none: usize, least: usize, step: usize) -> usize {
        match usize::from(self.byte()) {
            0..128 => none,
            byte => least + (byte - 128) * step,
        }
    }

    fn setup(&mut self) -> Setup {
        self.has_many_topics = self.byte() >= 248;
        let bounds = self.retention();
        let limits = Limits {
            topics: self.bound(100_000, 2, 1),
            retained_bytes: self.bound(16 << 20, 300, 5),
            feed_buffer: self.bound(1 << 20, 1, 3),
            feeds_buffer: self.bound(64 << 20, 1, 3),
            unicast_buffer: self.bound(1 << 20, 1, 2),
            ..Limits::default()
        };
        let feeds = 1 + self.below(4);
        let formats = [Format::SseData, Format::SseJson, Format::Json, Format::BinaryV2, Format::BinaryV1];
        let feeds = (0..feeds).map(|_| (self.below(FILTERS.len()), self.one_of(&formats))).collect();
        let on_disk = Some(usize::from(self.byte())).filter(|byte| *byte >= 128).map(|byte| (byte - 128) * 10);
        let retention = Retention { rules: self.rules(), ..bounds };
        Setup { retention, limits, on_disk, window: None, feeds }
    }

    /// The bounds of history without rules.
    fn retention(&mut self) -> Retention {
        Retention {
            events: self.bound(10_000, 1, 1),
            bytes: self.bound(usize::MAX, 300, 10),
            age: Duration::from_millis(self.bound(1_000_000, 10, 1) as u64),
            budget: self.bound(usize::MAX, 600, 25),
            rules: Vec::new(),
        }
    }

    fn rules(&mut self) -> Vec<TopicRule> {
        let rule = |bytes: &mut Self| {
            let filters = FilterSet::parse(FILTERS[bytes.below(FILTERS.len())]).expect("legal");
            let mut own = |least, step| Some(bytes.bound(usize::MAX, least, step)).filter(|own| *own != usize::MAX);
            let (events, bytes, age) = (own(0, 1), own(300, 10), own(0, 1));
            TopicRule { filters, events, bytes, age: age.map(|ms| Duration::from_millis(ms as u64)) }
        };
        (0..self.below(4)).map(|_| rule(self)).collect()
    }

    fn step(&mut self) -> (Op, bool) {
        let first = self.byte();
        (self.op(first & 31), first >> 5 == 7)
    }

    fn op(&mut self, which: u8) -> Op {
        match which {
            0..=7 => Op::Publish {
                topic: self.below(TOPICS.len()),
                size: self.size(),
                retain: self.one_of(&[Retain::No, Retain::Yes, Retain::No, Retain::Clear]),
                ttl_ms: Some(u64::from(self.byte())).filter(|ttl| *ttl >= 192).map(|ttl| ttl - 192),
            },
            8 if self.has_many_topics => Op::PublishToMany,
            8 | 9 => Op::Burst { topic: self.below(TOPICS.len()), events: 2 + self.below(8), size: Size::Small },
            10 | 11 => Op::Unicast { to: self.to(), size: self.size() },
            12..=14 => Op::Subscribe {
                feed: self.index(),
                since: self.since(),
                slow: self.slow(),
                name: Some(self.below(NAMES.len() + 4)).filter(|name| *name < NAMES.len()),
                past_only: self.below(8) == 7,
                reader: Some(self.below(READERS + 1)).filter(|reader| *reader < READERS),
            },
            15 => Op::Crowd {
                feed: self.index(),
                many: 2 + self.below(3),
                slow: self.slow(),
                reader: self.below(READERS),
            },
            16 | 17 => Op::Read { who: self.index() },
            18 => Op::Drain { who: self.index() },
            19 => {
                let bounds = self.retention();
                Op::Configure(Retention { rules: self.rules(), ..bounds })
            }
            20 => Op::DrainAll,
            21 => Op::ReadShared { reader: self.below(READERS), shared: self.index() },
            22 => Op::Restart,
            23 => Op::DrainGroups { reader: self.below(READERS) },
            24 => Op::LeaveSharedCursor { who: self.index() },
            25 => Op::Resume { who: self.index(), from: self.index() },
            26 => Op::ResumeLast { who: self.index() },
            27 => Op::Disconnect { who: self.index() },
            28 => Op::Kick { to: self.to() },
            29 => Op::Pass { ms: 1 + u64::from(self.byte()) },
            30 => Op::Tick,
            _ => Op::Heartbeats,
        }
    }

    fn index(&mut self) -> Index {
        Index(self.byte().into())
    }

    fn to(&mut self) -> To {
        match self.byte() {
            byte @ 0..128 => To::Id(Index(byte.into())),
            byte => To::Name(usize::from(byte) % NAMES.len()),
        }
    }

    /// Seldom much, because that takes long.
    fn size(&mut self) -> Size {
        match self.byte() {
            0..224 => Size::Small,
            224..248 => Size::Lines,
            _ => Size::Big,
        }
    }

    fn slow(&mut self) -> Slow {
        self.one_of(&[Slow::Gap, Slow::Latest, Slow::Disconnect])
    }

    fn since(&mut self) -> Since {
        match self.below(9) {
            0 => Since::None,
            1 => Since::Now,
            2 => Since::Latest,
            3 => Since::All,
            4 => Since::Last { ms: self.byte().into() },
            5 => Since::Seq(self.index()),
            6 => Since::Beyond { by: 1 + u64::from(self.byte()) },
            7 => Since::OtherEpoch { seq: self.byte().into() },
            _ => Since::Garbage(self.below(GARBAGE.len())),
        }
    }
}
