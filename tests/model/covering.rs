//! Which filters let through whatever another one does.

use proptest::prelude::*;
use sse_bus::Filter;

use super::{filters, matching};

/// Topics that a filter lets through, and that another lets through only if it lets through all such topics: in the place
/// of each wildcard stand levels that no filter names.
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
    fn a_filter_covers_another_exactly_if_it_lets_through_whatever_that_does(a in filters::filter(), b in filters::filter()) {
        let [first, second] = [&a, &b].map(|filter| Filter::parse(filter).expect("legal"));
        // There is no topic without a level, so `*/**` lets through the same as `**`. It is not said to.
        let expected = match &*b {
            "**" => a == "**",
            _ => witnesses(&b).iter().all(|topic| matching::matches(&a, topic)),
        };
        prop_assert_eq!(first.covers(&second), expected, "{} covers {}", a, b);
    }
}
