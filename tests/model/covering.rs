//! A filter covers another if it matches every topic that the other matches.

use proptest::prelude::*;
use sse_bus::Filter;

use sse_bus_support::{matching, strategies};

/// Topics that a filter matches, and that another filter matches only if it covers the first: each wildcard is replaced
/// by levels that no filter names.
fn witnesses(filter: &str) -> Vec<String> {
    let filter = filter.replace("**", "REST").replace('*', "x");
    match filter.strip_suffix("REST") {
        None => vec![filter],
        Some(start) => vec![start.trim_end_matches('/').to_owned(), format!("{start}x"), format!("{start}x/x/x/x/x/x")],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_covers_another_exactly_if_it_matches_all_topics_of_it(a in strategies::filter(), b in strategies::filter()) {
        let [first, second] = [&a, &b].map(|filter| Filter::parse(filter).expect("legal"));
        // Every topic has a level, so `*/**` matches the same as `**`, but does not count as covering it.
        let expected = match &*b {
            "**" => a == "**",
            _ => witnesses(&b).iter().all(|topic| matching::matches(&a, topic)),
        };
        prop_assert_eq!(first.covers(&second), expected, "{} covers {}", a, b);
    }
}
