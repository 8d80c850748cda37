//! The time that callers pass in.

/// The time, as the caller's clocks have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back; bounds ages.
    pub mono: u64,
    /// Milliseconds since 1970 (UTC); only shown.
    pub unix: u64,
}
