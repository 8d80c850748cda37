//! Filters, as the glossary defines them and as naively as can be.

use std::str::Split;

/// Whether a filter lets a topic through. Both must be legal.
pub fn matches(filter: &str, topic: &str) -> bool {
    fn levels(mut filter: Split<'_, char>, mut topic: Split<'_, char>) -> bool {
        match (filter.next(), topic.next()) {
            (None, None) | (Some("**"), _) => true,
            (Some(wanted), Some(level)) => (wanted == "*" || wanted == level) && levels(filter, topic),
            _ => false,
        }
    }
    topic.starts_with('$') <= filter.starts_with('$') && levels(filter.split('/'), topic.split('/'))
}
