//! Why a daemon elsewhere cannot be used.

use std::io;

use hyper::{header::InvalidHeaderValue, http::uri::InvalidUri};

/// Why a daemon elsewhere cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The URL cannot be parsed.
    #[error("not a URL: {0}")]
    Syntax(#[from] InvalidUri),
    /// The URL does not begin with `http://` or `https://` and a host.
    #[error("not the URL of a daemon; write http://HOST:PORT or https://HOST:PORT")]
    NotHttp,
    /// The URL contains a user name or a password, which the daemon does not use.
    #[error("the URL contains a user name or password; a daemon needs a token instead")]
    Credentials,
    /// The URL contains a query.
    #[error("the URL of a daemon has no query")]
    Query,
    /// The token contains characters that no token has.
    #[error("the token contains characters that no token has")]
    Token(#[from] InvalidHeaderValue),
    /// The token would be sent over plain HTTP to another machine.
    #[error("a token for {0} could be read on the way, because the URL is not https")]
    PlaintextToken(String),
    /// The certificates of the authorities cannot be read.
    #[error("the certificates cannot be read: {0}")]
    Authorities(io::Error),
    /// This build has no TLS.
    #[error("this build has no TLS; build it with the feature `remote-tls`")]
    NoTls,
}
