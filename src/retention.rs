//! Retention: how much of the past the bus keeps.

use std::time::Duration;

use crate::topic::FilterSet;

/// The bounds of history. Each topic has three bounds of its own; all topics share one budget. The oldest events are
/// evicted first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Maximum number of events per topic.
    pub events: usize,
    /// Maximum bytes per topic, each event charged with its cost in memory.
    pub bytes: usize,
    /// Maximum age of an event.
    pub age: Duration,
    /// Maximum bytes of all topics together.
    pub budget: usize,
    /// Exceptions for some topics. The first rule that matches a topic applies.
    pub rules: Vec<TopicRule>,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            events: 10_000,
            bytes: 16 << 20,
            age: Duration::from_hours(24),
            budget: 64 << 20,
            rules: Vec::new(),
        }
    }
}

/// Bounds for the topics that match its filters. A bound that a rule leaves out is the general one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRule {
    /// The topics that the rule applies to.
    pub filters: FilterSet,
    /// See [`Retention::events`].
    pub events: Option<usize>,
    /// See [`Retention::bytes`].
    pub bytes: Option<usize>,
    /// See [`Retention::age`].
    pub age: Option<Duration>,
}
