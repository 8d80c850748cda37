//! The log: what is logged, how a line looks, and how it reaches stderr without blocking the daemon.
//!
//! - [`filter`] chooses lines by level and module.
//! - [`throttle`] bounds how often peers can cause a line, [`format`] how long a line gets.
//! - [`writer`] writes from a thread of its own. Lines wait there up to a bound, and are dropped and counted above it.

mod filter;
mod format;
mod throttle;
mod writer;

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
};

use sse_bus::flags::LogFormat;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

use self::throttle::{Throttle, ThrottleLayer};
pub(crate) use self::{filter::LogFilter, writer::Flush};

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
    /// The process already has a log.
    pub(crate) fn start(format: LogFormat, LogFilter(filter): LogFilter) -> io::Result<(Log, Flush)> {
        let (filter, handle) = reload::Layer::new(filter);
        let throttle = Arc::new(Throttle::default());
        let (stderr, flush) = writer::stderr();
        let events = tracing_subscriber::registry()
            .with(filter)
            .with(ThrottleLayer { throttle: throttle.clone(), own_target: module_path!() });
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
        // It fails only once the log has ended.
        let replace = Box::new(move |filter| drop(handle.reload(filter)));
        Ok((Log { replace, throttle }, flush))
    }

    /// Replaces the filter.
    pub(crate) fn set(&self, LogFilter(filter): LogFilter) {
        (self.replace)(filter);
    }

    /// Logs the probable mistakes in a configuration.
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
