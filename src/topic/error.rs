//! What is legal in topics and filters, and the errors of what is not.

use crate::limits::{FILTERS_MAX, TOPIC_MAX};

/// Why a text is not a topic or not a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The text is empty.
    #[error("it is empty; write a name such as `build/web`")]
    Empty,
    /// The text is longer than [`TOPIC_MAX`] bytes. Contains its length.
    #[error("it has {0} bytes; at most {TOPIC_MAX} are allowed")]
    TooLong(usize),
    /// There is a `/` at the start, at the end, or next to another one.
    #[error("it has an empty level; remove the extra `/`")]
    EmptyLevel,
    /// The text contains a forbidden character.
    #[error("it contains {}; white space, control characters, `?` and `#` are not allowed", shown(*.0))]
    Forbidden(char),
    /// A topic contains a wildcard.
    #[error("it contains `*`; an event has exactly one topic, wildcards are for subscribers")]
    Wildcard,
    /// A `*` is not alone in its level. Contains the level.
    #[error("the level `{0}` mixes `*` with other characters; `*` must be a whole level")]
    PartialStar(Box<str>),
    /// A `**` is not the last level.
    #[error("`**` is only allowed as the last level")]
    InnerDoubleStar,
    /// A subscription has more than [`FILTERS_MAX`] filters.
    #[error("there are too many; a subscription has at most {FILTERS_MAX}")]
    TooManyFilters,
}

/// Returns a character for an error message.
fn shown(c: char) -> String {
    match c {
        ' ' => "a space".into(),
        '?' | '#' => format!("`{c}`"),
        _ => format!("U+{:04X}", u32::from(c)),
    }
}

/// Checks what topics and filters have in common: length, characters, and levels that are not empty.
pub(super) fn check_levels(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > TOPIC_MAX {
        return Err(TopicError::TooLong(text.len()));
    }
    if let Some(c) = text.chars().find(|c| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#')) {
        return Err(TopicError::Forbidden(c));
    }
    if text.split('/').any(str::is_empty) {
        return Err(TopicError::EmptyLevel);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_what_is_wrong() {
        for (error, part) in [
            (TopicError::Empty, "empty"),
            (TopicError::TooLong(300), "300 bytes; at most 255"),
            (TopicError::EmptyLevel, "remove the extra `/`"),
            (TopicError::Forbidden(' '), "contains a space;"),
            (TopicError::Forbidden('?'), "contains `?`;"),
            (TopicError::Forbidden('#'), "contains `#`;"),
            (TopicError::Forbidden('\u{7}'), "contains U+0007;"),
            (TopicError::Wildcard, "it contains `*`"),
            (TopicError::PartialStar("a*".into()), "the level `a*`"),
            (TopicError::InnerDoubleStar, "`**` is only allowed as the last level"),
            (TopicError::TooManyFilters, "at most 64"),
        ] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
