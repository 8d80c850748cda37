//! Filters, as the glossary defines them and as naively as can be; and how filters and topics are made up.

use proptest::{collection::vec, prelude::*};

/// Whether a filter lets a topic through. Both must be legal.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    fn levels(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            ([], []) | (["**"], _) => true,
            (["*", filter @ ..], [_, topic @ ..]) => levels(filter, topic),
            ([wanted, filter @ ..], [level, topic @ ..]) => wanted == level && levels(filter, topic),
            _ => false,
        }
    }
    let split = |text: &'_ str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
    let (f, t) = (split(filter), split(topic));
    let (f, t): (Vec<_>, Vec<_>) = (f.iter().map(String::as_str).collect(), t.iter().map(String::as_str).collect());
    topic.starts_with('$') <= filter.starts_with('$') && levels(&f, &t)
}

/// A topic of few levels, so that filters and topics meet.
pub(crate) fn topic() -> impl Strategy<Value = String> {
    (any::<bool>(), vec(prop_oneof![Just("a"), Just("b"), Just("é")], 1..5))
        .prop_map(|(system, levels)| format!("{}{}", if system { "$" } else { "" }, levels.join("/")))
}

/// A filter that has a chance to match such a topic.
pub(crate) fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => Just("a"), 2 => Just("b"), 2 => Just("*"), 1 => Just("é")];
    (0..4, vec(level, 0..5), any::<bool>()).prop_filter_map("an empty filter", |(system, mut levels, rest)| {
        levels.extend(rest.then_some("**"));
        let system = if system == 0 && levels.first().is_some_and(|level| !level.contains('*')) { "$" } else { "" };
        (!levels.is_empty()).then(|| format!("{system}{}", levels.join("/")))
    })
}
