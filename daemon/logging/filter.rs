//! Chooses the lines that are logged, by level and module.

use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};

/// A filter by level and module.
#[derive(Clone, Debug)]
pub(crate) struct LogFilter(pub(super) Targets);

/// The text is not a filter. The message names the mistake and shows a valid filter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidLogFilter {
    #[error("log = {filter}: `{word}` is not a level; write for example `info` or `sse_busd=debug`")]
    Level { filter: String, word: String },
    #[error("log = {filter}: {error}; write for example `info` or `sse_busd=debug`")]
    Other { filter: String, error: ParseError },
}

impl LogFilter {
    /// Parses a filter.
    pub(crate) fn parse(filter: &str) -> Result<LogFilter, InvalidLogFilter> {
        // Without this check a misspelt level would be a module, and nothing else would be logged.
        let is_level = |word: &str| word.trim().is_empty() || word.trim().parse::<LevelFilter>().is_ok();
        if let Some(word) = filter.split(',').find(|word| !word.contains('=') && !is_level(word)) {
            return Err(InvalidLogFilter::Level { filter: filter.into(), word: word.into() });
        }
        let targets =
            filter.parse::<Targets>().map_err(|error| InvalidLogFilter::Other { filter: filter.into(), error })?;
        // h2 logs requests that it cannot parse, which may contain a ticket; async-nats each attempt to connect.
        let quiet = [("h2", LevelFilter::WARN), ("async_nats", LevelFilter::WARN)];
        Ok(LogFilter(targets.with_targets(quiet)))
    }
}
