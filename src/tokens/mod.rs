//! Tokens: the authorization of clients that do not run as the daemon's own user.
//!
//! A token is a secret that its holder sends as `Authorization: Bearer …`. It allows to publish, subscribe or
//! administer, on all topics or some, without a time limit or until it expires. Tokens are stored in one file of the
//! state directory, which `sse-busctl token` writes and the daemon reads. The file contains only the SHA-256 digest of
//! each secret. A secret has 256 random bits, so a slower hash is not needed against guessing.

mod file;
mod secret;
mod token;
mod version;

pub use self::{
    file::{NewToken, TokenFile},
    secret::{Digest, PREFIX, Secret, random_name},
    token::{Scope, Token},
    version::Version,
};
