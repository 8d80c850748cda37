//! The time, which callers pass to the bus.

/// The time by the clocks of the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a monotonic clock, by which events age.
    pub mono: u64,
    /// Milliseconds since 1970 (UTC), for display only.
    pub unix: u64,
}
