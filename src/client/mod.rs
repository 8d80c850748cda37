//! The async client.
pub struct Client;
