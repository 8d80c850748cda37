//! How to free what a limit bounds that the configuration does not set.

use sse_bus::protocol::LimitInfo;

/// A fix: a sentence, and the command that lists what uses the limit.
pub(crate) struct LimitFix {
    pub(crate) sentence: &'static str,
    pub(crate) command: &'static str,
}

impl LimitFix {
    /// Returns the fix of a [fixed](LimitInfo::is_fixed) limit.
    pub(crate) fn of(limit: &LimitInfo) -> LimitFix {
        let (sentence, command) = match &*limit.limit {
            "consumers" => ("delete consumers that are not needed", "sse-busctl consumer list"),
            "workers" | "responders" => ("stop those that are not needed", "sse-busctl clients"),
            "dead_letters" => ("retry or drop dead letters", "sse-busctl consumer list"),
            "schedules" | "schedules_bytes" => ("cancel schedules that are not needed", "sse-busctl schedule list"),
            "requests" => ("start more responders", "sse-busctl clients"),
            _ => ("start more workers, or delete consumers that are not needed", "sse-busctl consumer list"),
        };
        LimitFix { sentence, command }
    }
}
