//! Filters, as the glossary defines them and as naively as can be.

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
