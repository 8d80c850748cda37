//! Chooses the lines that are logged, by level and module.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// A filter by level and module.
#[derive(Clone, Debug)]
pub(crate) struct LogFilter(pub(super) Targets);

impl LogFilter {
    /// Parses a filter.
    ///
    /// # Errors
    ///
    /// Names the mistake and shows a valid filter.
    pub(crate) fn parse(filter: &str) -> Result<LogFilter, String> {
        let wrong = |what: String| format!("log = {filter}: {what}; write for example `info` or `sse_busd=debug`");
        // Without this check a misspelt level would be a module, and nothing else would be logged.
        let is_level = |word: &str| word.trim().is_empty() || word.trim().parse::<LevelFilter>().is_ok();
        if let Some(word) = filter.split(',').find(|word| !word.contains('=') && !is_level(word)) {
            return Err(wrong(format!("`{word}` is not a level")));
        }
        let targets = filter.parse::<Targets>().map_err(|e| wrong(e.to_string()))?;
        // h2 logs requests that it cannot parse, which may contain a ticket.
        Ok(LogFilter(targets.with_target("h2", LevelFilter::WARN)))
    }
}
