//! Topics and filters.
//!
//! Both are validated once, when they are parsed. A topic has up to [`TOPIC_MAX`](crate::limits::TOPIC_MAX) bytes and consists
//! of levels separated by `/`. A filter is a topic or a pattern, in which `*` matches one level and a final `**` any number of
//! levels, including none. Topics that begin with `$` belong to the bus: no client can publish to them, and only
//! patterns that begin with `$` match them.

mod error;
mod filter;
mod name;

pub use self::{
    error::TopicError,
    filter::{Filter, FilterSet},
    name::Topic,
};
