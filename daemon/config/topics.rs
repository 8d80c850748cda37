//! `[[topics]]` in the configuration file: settings for the topics that some filters match.
//!
//! The first table that matches a topic applies. A table without settings is refused, since it would only hide later tables.

use std::{fmt, time::Duration};

use bytesize::ByteSize;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
};
use sse_bus::{Filter, FilterSet, Topic, flags, retention::TopicRule};

use super::publishers::Publisher;

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct TopicTable {
    filters: FilterSet,
    keys: Keys,
    /// Its position, such as `/path/config.toml:12:1`.
    pub(crate) place: String,
}

/// The keys of a table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Keys {
    r#match: Option<Filters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history_events: Option<usize>,
    #[serde(serialize_with = "flags::size", skip_serializing_if = "Option::is_none")]
    history_bytes: Option<ByteSize>,
    #[serde(with = "flags::duration", skip_serializing_if = "Option::is_none")]
    history_age: Option<Duration>,
    #[serde(with = "flags::duration", skip_serializing_if = "Option::is_none")]
    ttl: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publishers: Option<Vec<Publisher>>,
}

impl TopicTable {
    /// # Errors
    ///
    /// Names a key that is missing.
    pub(super) fn new(keys: Keys, place: String) -> Result<TopicTable, &'static str> {
        let Keys { r#match: filters, history_events, history_bytes, history_age, ttl, publishers } = &keys;
        let Some(Filters(filters)) = filters.clone() else {
            return Err("this [[topics]] table has no `match`; name the topics that it is for");
        };
        let bounds = history_events.is_some() || history_bytes.is_some() || history_age.is_some();
        if !bounds && ttl.is_none() && publishers.is_none() {
            return Err("this [[topics]] table sets nothing for its topics; set history_events, history_bytes, \
                        history_age, ttl or publishers, or remove it");
        }
        Ok(TopicTable { filters, keys, place })
    }

    /// Returns the rule for history.
    pub(super) fn rule(&self) -> TopicRule {
        let Keys { history_events, history_bytes, history_age, .. } = self.keys;
        let bytes = history_bytes.map(|size| size.0 as usize);
        TopicRule { filters: self.filters.clone(), events: history_events, bytes, age: history_age }
    }

    /// Returns its keys.
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn matches(&self, topic: &Topic) -> bool {
        self.filters.matches(topic)
    }

    /// Returns the filters, for people.
    pub(crate) fn filters(&self) -> String {
        self.filters.iter().map(|filter| format!("`{filter}`")).collect::<Vec<_>>().join(", ")
    }

    /// Returns the time to live of events that are published without one.
    pub(crate) fn ttl(&self) -> Option<Duration> {
        self.keys.ttl
    }

    /// Returns the callers that may publish, if the table restricts them.
    pub(crate) fn publishers(&self) -> Option<&[Publisher]> {
        self.keys.publishers.as_deref()
    }
}

/// A filter, or a list of them.
#[derive(Clone, Debug)]
struct Filters(FilterSet);

impl<'de> Deserialize<'de> for Filters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Filters, D::Error> {
        deserializer.deserialize_any(OneOrMore).map(Filters)
    }
}

impl Serialize for Filters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter())
    }
}

struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = FilterSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a filter such as \"build/**\", or a list of filters")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<FilterSet, E> {
        let filter = Filter::deserialize(de::value::StrDeserializer::new(text))?;
        FilterSet::parse(&[filter.as_str()]).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<FilterSet, A::Error> {
        let mut filters = Vec::new();
        while let Some(filter) = list.next_element::<Filter>()? {
            filters.push(filter);
        }
        let texts: Vec<_> = filters.iter().map(Filter::as_str).collect();
        match FilterSet::parse(&texts) {
            // For a subscriber, no filter means every topic. Here it is a mistake.
            _ if texts.is_empty() => Err(de::Error::custom("an empty list matches no topic; name at least one filter")),
            set => set.map_err(de::Error::custom),
        }
    }
}
