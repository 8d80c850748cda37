//! The items of a batch of publications, and their outcomes.

use sse_bus::{
    bus::Publication,
    protocol::{Published, Refused},
};

/// An admitted publication or its refusal, with the caller's tag.
pub(crate) type Item<T> = (T, Result<Publication, Refused>);
/// The outcome of a publication, with the caller's tag.
pub(crate) type Outcome<T> = (T, Result<Published, Refused>);
