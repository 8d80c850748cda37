//! The log: what is logged, how a line looks, and how it reaches stderr without blocking the daemon.
//!
//! - [`throttle`] bounds how often peers can cause a line, [`format`] how long a line gets.
//! - [`writer`] writes from a thread of its own. Lines wait there up to a bound, and are dropped and counted above it.

mod format;
mod throttle;
mod writer;

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
};

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use self::throttle::{Throttle, ThrottleLayer};
pub(crate) use self::writer::Flush;
use crate::cli::LogFormat;

/// The beginning of the target of the log's own lines.
const TARGET: &str = module_path!();

/// The running log.
pub(crate) struct Log {
    replace: Box<dyn Fn(Targets) + Send + Sync>,
    throttle: Arc<Throttle>,
}

impl Log {
    /// Starts to log to stderr. Lines that still wait at the end are written by [`Flush`].
    ///
    /// # Errors
    ///
    /// There is a log already.
    pub(crate) fn start(format: LogFormat, filter: Targets) -> io::Result<(Log, Flush)> {
        let (filter, handle) = reload::Layer::new(filter);
        let throttle = Arc::new(Throttle::default());
        let (stderr, flush) = writer::stderr();
        let events = tracing_subscriber::registry().with(filter).with(ThrottleLayer(throttle.clone()));
        let lines = fmt::layer().with_writer(stderr);
        let started = match format {
            LogFormat::Text => {
                let colours =
                    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
                events.with(lines.fmt_fields(format::ShortFields).with_ansi(colours)).try_init()
            }
            LogFormat::Json => events.with(lines.event_format(format::Json)).try_init(),
        };
        started.map_err(io::Error::other)?;
        // The default hook writes to stderr itself, and would block the thread that panics.
        std::panic::set_hook(Box::new(|panic| {
            let at = panic.location().map(ToString::to_string);
            tracing::error!(at, "a task has panicked: {}", panic.payload_as_str().unwrap_or_default());
        }));
        // It fails only where nothing is logged any more.
        let replace = Box::new(move |filter| drop(handle.reload(filter)));
        Ok((Log { replace, throttle }, flush))
    }

    /// Parses a filter by level and module.
    ///
    /// # Errors
    ///
    /// Names the mistake and shows a valid filter.
    pub(crate) fn parse(filter: &str) -> Result<Targets, String> {
        let wrong = |what: String| format!("log = {filter}: {what}; write for example `info` or `sse_busd=debug`");
        // A misspelt level would be taken for a module, and nothing else be logged.
        let is_level = |word: &str| word.trim().is_empty() || word.trim().parse::<LevelFilter>().is_ok();
        if let Some(word) = filter.split(',').find(|word| !word.contains('=') && !is_level(word)) {
            return Err(wrong(format!("`{word}` is no level")));
        }
        let targets = filter.parse::<Targets>().map_err(|e| wrong(e.to_string()))?;
        // It logs what it cannot parse, and a ticket may be in that.
        Ok(targets.with_target("h2", LevelFilter::WARN))
    }

    /// Replaces the filter.
    pub(crate) fn set(&self, filter: Targets) {
        (self.replace)(filter);
    }

    /// Logs what is doubtful in a configuration, all of it.
    pub(crate) fn warn(warnings: &[String]) {
        for warning in warnings {
            tracing::warn!("{warning}");
        }
    }

    /// Logs how many lines were suppressed since the last report.
    pub(crate) fn report_suppressed(&self) {
        self.throttle.report();
    }
}
