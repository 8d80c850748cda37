//! The parts of the log that read messages, in the places that they have in the daemon.

pub(crate) mod external {
    pub(crate) type Mark = u64;
}
pub(crate) mod nats;
