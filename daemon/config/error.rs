//! What is wrong with a configuration.

use std::fmt;

/// Mistakes in the configuration, each in a line that names its position and what to change.
#[derive(Debug)]
pub(crate) struct ConfigError(Vec<String>);

impl ConfigError {
    /// One mistake.
    pub(super) fn new(mistake: impl Into<String>) -> ConfigError {
        ConfigError(vec![mistake.into()])
    }

    /// Several mistakes, at least one.
    pub(super) fn all(mistakes: Vec<String>) -> ConfigError {
        ConfigError(mistakes)
    }

    /// Returns the mistakes.
    pub(crate) fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}
