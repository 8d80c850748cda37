//! `[[topics]]` in the configuration file: what is different for the topics that some filters match.
//!
//! The order of the tables counts: of those that match a topic it is the first. A table that says nothing but which topics
//! it is for is refused, since it would only keep later ones from counting.

use std::{fmt, time::Duration};

use bytesize::ByteSize;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use sse_bus::{Filter, FilterSet, limits::TopicRule};

/// One of the tables.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Keys")]
pub(super) struct TopicTable(Keys);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    r#match: Filters,
    history_events: Option<usize>,
    history_bytes: Option<ByteSize>,
    #[serde(default, deserialize_with = "crate::cli::duration")]
    history_age: Option<Duration>,
}

impl TryFrom<Keys> for TopicTable {
    type Error = &'static str;

    fn try_from(keys: Keys) -> Result<TopicTable, Self::Error> {
        let Keys { r#match: _, history_events, history_bytes, history_age } = &keys;
        if history_events.is_none() && history_bytes.is_none() && history_age.is_none() {
            return Err(
                "it sets nothing for its topics; set history_events, history_bytes or history_age, or remove it",
            );
        }
        Ok(TopicTable(keys))
    }
}

impl TopicTable {
    /// The rule for what history keeps.
    pub(super) fn rule(self) -> TopicRule {
        let Keys { r#match: Filters(filters), history_events, history_bytes, history_age } = self.0;
        let bytes = history_bytes.map(|size| size.0 as usize);
        TopicRule { filters, events: history_events, bytes, age: history_age }
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
            // For a subscriber no filter means every topic; here it means that something was forgotten.
            _ if texts.is_empty() => Err(de::Error::custom("an empty list matches no topic; name at least one filter")),
            set => set.map_err(de::Error::custom),
        }
    }
}
