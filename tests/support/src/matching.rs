//! Filters as the glossary defines them, implemented as simply as possible.

use std::str::Split;

/// Returns true if a filter matches a topic. Both must be valid.
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
