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
    let (f, t): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
    topic.starts_with('$') <= filter.starts_with('$') && levels(&f, &t)
}
