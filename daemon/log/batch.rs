//! The items of a batch of publications, and their answers.

use sse_bus::{
    bus::Publication,
    protocol::{Published, Refused},
};

/// An admitted publication or its refusal, with the caller's tag.
pub(crate) type Item<T> = (T, Result<Publication, Refused>);
/// The answer to a publication, with the caller's tag.
pub(crate) type Answer<T> = (T, Result<Published, Refused>);
