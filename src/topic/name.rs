//! The topic of an event.

use std::{borrow::Borrow, fmt, sync::Arc};

use super::error::{TopicError, check_levels};

/// The topic of an event, such as `build/web`. Cheap to clone.
///
/// ```
/// use sse_bus::Topic;
/// assert!(Topic::parse("build/web").is_ok());
/// assert!(Topic::parse("build//web").is_err());
/// assert!(Topic::parse("build/*").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Parses a topic.
    pub fn parse(text: &str) -> Result<Topic, TopicError> {
        check_levels(text)?;
        match text.find('*') {
            Some(_) => Err(TopicError::Wildcard),
            None => Ok(Topic(text.into())),
        }
    }

    /// Returns the topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the topic belongs to the bus itself (begins with `$`).
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }
}

/// Topics compare and hash as their text does, so that a map of topics is searched by text.
impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limits::TOPIC_MAX, topic::Filter};

    #[test]
    fn a_text_that_is_no_topic_or_no_filter_is_refused_with_the_reason() {
        let long = "x".repeat(TOPIC_MAX + 1);
        let neither = [
            ("", TopicError::Empty),
            (&long, TopicError::TooLong(TOPIC_MAX + 1)),
            ("/a", TopicError::EmptyLevel),
            ("a//b", TopicError::EmptyLevel),
            ("a/", TopicError::EmptyLevel),
            ("a b", TopicError::Forbidden(' ')),
            ("a\u{2003}b", TopicError::Forbidden('\u{2003}')),
            ("a\u{7}b", TopicError::Forbidden('\u{7}')),
            ("a?", TopicError::Forbidden('?')),
            ("#a", TopicError::Forbidden('#')),
        ];
        for (text, why) in neither {
            assert_eq!(Topic::parse(text), Err(why.clone()), "{text:?}");
            assert_eq!(Filter::parse(text), Err(why), "{text:?}");
        }
        for text in ["*", "a/**", "a*"] {
            assert_eq!(Topic::parse(text), Err(TopicError::Wildcard), "{text:?}");
        }
        for (text, level) in [("a*", "a*"), ("a/*b/c", "*b"), ("***", "***")] {
            assert_eq!(Filter::parse(text), Err(TopicError::PartialStar(level.into())), "{text:?}");
        }
        for text in ["**/a", "a/**/b", "**/**"] {
            assert_eq!(Filter::parse(text), Err(TopicError::InnerDoubleStar), "{text:?}");
        }
        let longest = "x".repeat(TOPIC_MAX);
        for text in ["a", "$sys/clients", "é/\u{1F600}", &longest] {
            let (topic, filter) = (Topic::parse(text).expect("legal"), Filter::parse(text).expect("legal"));
            assert_eq!((topic.as_str(), filter.as_str(), filter.as_topic()), (text, text, Some(text)));
            assert!(filter.matches(&topic));
            assert_eq!([topic.to_string(), filter.to_string()], [text, text]);
            assert_eq!([format!("{topic:?}"), format!("{filter:?}")], [format!("{text:?}"), format!("{text:?}")]);
        }
        for text in ["*", "**", "a/*/b/**", "$sys/*"] {
            assert_eq!(Filter::parse(text).expect("legal").as_topic(), None);
        }
    }
}
