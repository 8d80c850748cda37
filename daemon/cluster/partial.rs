//! Results that some nodes have no part in.

/// A result that is partial if some nodes have not answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Partial<T> {
    pub(crate) result: T,
    /// The names of the nodes that have not answered.
    pub(crate) unreachable: Vec<String>,
}

impl<T> Partial<T> {
    /// Returns a result that is complete.
    pub(crate) fn whole(result: T) -> Partial<T> {
        Partial { result, unreachable: Vec::new() }
    }

    /// Converts the result.
    pub(crate) fn map<U>(self, convert: impl FnOnce(T) -> U) -> Partial<U> {
        Partial { result: convert(self.result), unreachable: self.unreachable }
    }
}
