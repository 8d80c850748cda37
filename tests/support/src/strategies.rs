//! Generators of topics and filters.

use proptest::{collection::vec, prelude::*};

/// A topic from few levels, so that filters match often.
pub fn topic() -> impl Strategy<Value = String> {
    (any::<bool>(), vec(prop_oneof![Just("a"), Just("b"), Just("é")], 1..5))
        .prop_map(|(system, levels)| format!("{}{}", if system { "$" } else { "" }, levels.join("/")))
}

/// A filter that may match such a topic.
pub fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => Just("a"), 2 => Just("b"), 2 => Just("*"), 1 => Just("é")];
    (0..4, vec(level, 0..5), any::<bool>()).prop_filter_map("an empty filter", |(system, mut levels, rest)| {
        levels.extend(rest.then_some("**"));
        let system = if system == 0 && levels.first().is_some_and(|level| !level.contains('*')) { "$" } else { "" };
        (!levels.is_empty()).then(|| format!("{system}{}", levels.join("/")))
    })
}
