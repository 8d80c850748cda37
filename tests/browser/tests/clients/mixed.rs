//! Events of every kind that a stream can carry, and what a client is to make of each.

use serde_json::{Value, json};
use sse_bus_browser_tests::Random;

use crate::Heard;

/// The types of the events. The first is that of an event without a type in a browser.
pub(crate) const TYPES: [&str; 4] = ["message", "done", "größer", "a b:c"];

/// The parts of an event's data.
const PIECES: [&str; 22] = [
    "plain",
    " ",
    "  two",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\r\r",
    "\u{b}",
    "\u{c}",
    "\u{1c}",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{feff}",
    ":",
    "data: forged",
    "id: 0-1\nevent: forged\n\n",
    "grüße, 日本語",
    "👩‍👩‍👧 e\u{301}",
    "{\"json\": [1, \"\\u2028\"]}",
];

/// An event as it is published, and as it must arrive.
pub(crate) struct Mixed {
    kind: Option<&'static str>,
    data: String,
}

impl Mixed {
    /// A number of events, the same in every run. Among them are empty ones and one of 200 KiB.
    pub(crate) fn events(many: usize) -> Vec<Mixed> {
        let mut random = Random(0x5eed);
        let mixed = |n: usize| {
            let kind = *random.one_of(&TYPES);
            let data = match n {
                _ if n % 100 == 10 => String::new(),
                // The last event of a connection is plain, because a client that reads an `id` in data resumes from
                // there.
                _ if n % 100 == 99 => n.to_string(),
                20 => "a long line, ".repeat(200 * 1024 / 13),
                120 => "lines\u{2028}\n".repeat(2000),
                _ => (0..random.below(8)).map(|_| *random.one_of(&PIECES)).chain([&*n.to_string()]).collect(),
            };
            Mixed { kind: (kind != TYPES[0]).then_some(kind), data }
        };
        (0..many).map(mixed).collect()
    }

    /// The request that publishes it.
    pub(crate) fn json(&self, topic: &str) -> Value {
        json!({ "topic": topic, "type": self.kind, "data": self.data })
    }

    /// Its data.
    pub(crate) fn data(&self) -> &str {
        &self.data
    }

    /// The data that must arrive: all line breaks are the same in a stream.
    pub(crate) fn arrives(&self) -> Heard {
        let data = self.data.replace("\r\n", "\n").replace('\r', "\n");
        Heard { kind: self.kind.unwrap_or(TYPES[0]).into(), data }
    }
}
