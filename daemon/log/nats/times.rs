//! Times, as the servers write them.

use std::time::{Duration, UNIX_EPOCH};

/// Returns a time in milliseconds since 1970 as the servers write it.
pub(crate) fn rfc3339(millis: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis)).to_string()
}

pub(super) fn parse_rfc3339(text: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339_weak(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(time.as_millis()).ok()
}
