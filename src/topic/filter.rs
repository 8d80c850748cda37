//! Filters, and the filters of a subscription.

use std::{fmt, sync::Arc};

use super::{
    error::{TopicError, check_levels},
    name::Topic,
};
use crate::limits::FILTERS_MAX;

/// A topic, or a pattern of topics: `build/web`, `build/*`, `build/**`.
///
/// ```
/// use sse_bus::{Filter, Topic};
/// let filter = Filter::parse("build/**").unwrap();
/// assert!(filter.matches(&Topic::parse("build").unwrap()));
/// assert!(filter.matches(&Topic::parse("build/web/css").unwrap()));
/// assert!(!filter.matches(&Topic::parse("deploy").unwrap()));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Filter(Arc<str>);

impl Filter {
    /// Parses a filter.
    pub fn parse(text: &str) -> Result<Filter, TopicError> {
        check_levels(text)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            match level {
                "*" => {}
                "**" if levels.peek().is_none() => {}
                "**" => return Err(TopicError::InnerDoubleStar),
                _ if level.contains('*') => return Err(TopicError::PartialStar(level.into())),
                _ => {}
            }
        }
        Ok(Filter(text.into()))
    }

    /// Returns the filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the levels of the filter, in order.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Returns the only topic that the filter matches, or `None` if it is a pattern.
    pub fn as_topic(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&*self.0)
    }

    /// Returns true if this filter matches every topic that `other` matches.
    ///
    /// ```
    /// use sse_bus::Filter;
    /// let allowed = Filter::parse("build/**").unwrap();
    /// assert!(allowed.covers(&Filter::parse("build/*/css").unwrap()));
    /// assert!(!allowed.covers(&Filter::parse("**").unwrap()));
    /// ```
    pub fn covers(&self, other: &Filter) -> bool {
        if other.0.starts_with('$') && !self.0.starts_with('$') {
            return false;
        }
        let mut levels = other.levels();
        for allowed in self.levels() {
            match (allowed, levels.next()) {
                ("**", _) => return true,
                ("*", Some(level)) if level != "**" => {}
                (allowed, Some(level)) if allowed == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Returns true if the filter matches a topic.
    pub fn matches(&self, topic: &Topic) -> bool {
        if topic.is_system() && !self.0.starts_with('$') {
            return false;
        }
        let mut levels = topic.as_str().split('/');
        for wanted in self.levels() {
            match wanted {
                "**" => return true,
                "*" if levels.next().is_some() => {}
                _ if levels.next() == Some(wanted) => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Filter {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Filter {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Filter, D::Error> {
        let text = String::deserialize(deserializer)?;
        Filter::parse(&text).map_err(|e| serde::de::Error::custom(format!("the filter `{}`: {e}", text.escape_debug())))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The filters of one subscription: sorted, without duplicates, at most [`FILTERS_MAX`]. Subscribers
/// with equal sets and the same format share a feed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FilterSet(Arc<[Filter]>);

impl FilterSet {
    /// Parses and normalizes a list of filters. An empty list means `**`.
    pub fn parse<S: AsRef<str>>(filters: &[S]) -> Result<FilterSet, TopicError> {
        if filters.is_empty() {
            return Ok(FilterSet([Filter("**".into())].into()));
        }
        if filters.len() > FILTERS_MAX {
            return Err(TopicError::TooManyFilters);
        }
        let mut parsed = filters.iter().map(|f| Filter::parse(f.as_ref())).collect::<Result<Vec<_>, _>>()?;
        parsed.sort_unstable();
        parsed.dedup();
        Ok(FilterSet(parsed.into()))
    }

    /// Returns a set that matches no topic, for subscribers that receive requests instead of events.
    #[cfg(feature = "bus")]
    pub(crate) fn none() -> FilterSet {
        FilterSet([].into())
    }

    /// Returns true if any of the filters matches a topic.
    pub fn matches(&self, topic: &Topic) -> bool {
        self.0.iter().any(|f| f.matches(topic))
    }

    /// Returns the filters, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &Filter> {
        self.0.iter()
    }

    /// Returns the set with one more filter, even if it then has one more than [`FILTERS_MAX`]. A text that is not a filter is
    /// left out.
    #[cfg(feature = "bus")]
    pub(crate) fn with(&self, filter: &str) -> FilterSet {
        let mut filters: Vec<_> = self.0.iter().cloned().chain(Filter::parse(filter)).collect();
        filters.sort_unstable();
        filters.dedup();
        FilterSet(filters.into())
    }

    /// Returns the filters as strings, for descriptions.
    pub fn to_strings(&self) -> Vec<String> {
        self.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_level_does_not_cover_any_number_of_levels() {
        let covers = |a, b| Filter::parse(a).expect("legal").covers(&Filter::parse(b).expect("legal"));
        assert_eq!(
            [covers("a/*", "a/**"), covers("*", "**"), covers("a/*", "a/*"), covers("a/**", "a/*")],
            [false, false, true, true]
        );
    }

    #[test]
    fn a_set_of_filters_is_sorted_without_repeats_and_bounded() {
        let names = |n: usize| (0..n).map(|n| format!("f{n}")).collect::<Vec<_>>();
        assert_eq!(FilterSet::parse(&names(FILTERS_MAX)).expect("legal").iter().count(), FILTERS_MAX);
        assert_eq!(FilterSet::parse(&names(FILTERS_MAX + 1)), Err(TopicError::TooManyFilters));
        assert_eq!(FilterSet::parse(&["b", "a/*", "b"]).expect("legal").to_strings(), ["a/*", "b"]);
        assert_eq!(FilterSet::parse::<&str>(&[]).expect("everything").to_strings(), ["**"]);
    }

    #[test]
    fn a_filter_is_a_string_in_json_and_checked_when_it_is_read() {
        let filter = Filter::parse("a/**").expect("legal");
        assert_eq!(serde_json::to_string(&filter).expect("encoded"), r#""a/**""#);
        assert_eq!(serde_json::from_str::<Filter>(r#""a/**""#).expect("legal"), filter);
        let error = serde_json::from_str::<Filter>(r#""a/**/b""#).expect_err("not legal").to_string();
        assert!(error.starts_with("the filter `a/**/b`: `**` is only allowed as the last level"), "{error}");
    }
}
