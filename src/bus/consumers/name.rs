//! Names of consumers.

use std::{borrow::Borrow, fmt};

use crate::{
    limits::NAME_MAX,
    protocol::{ErrorCode, Refused},
};

/// The name of a consumer: 1 to [`NAME_MAX`] ASCII letters, digits, `.`, `_` and `-`, of which the first is a letter or a
/// digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerName(Box<str>);

impl ConsumerName {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<ConsumerName, Refused> {
        let is_legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let begins_well = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if begins_well && text.len() <= NAME_MAX && text.bytes().all(is_legal) {
            return Ok(ConsumerName(text.into()));
        }
        let shown: String = text.chars().take(60).collect();
        let message = format!(
            "a consumer cannot have the name `{shown}`; use 1 to {NAME_MAX} ASCII letters, digits, `.`, `_` and `-`, and begin \
             with a letter or a digit"
        );
        Err(Refused::new(ErrorCode::ConsumerInvalid, message))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ConsumerName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConsumerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
