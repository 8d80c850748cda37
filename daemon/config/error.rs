//! What is wrong with a configuration.

/// Mistakes in the configuration, each in a line that names its position and what to change.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
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
