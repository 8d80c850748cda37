//! `--url`: the daemon elsewhere that the global options name.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::{Args, builder::BoolishValueParser};

use sse_bus::{
    client::{self, RemoteError},
    tokens::PREFIX,
};

use crate::{
    exit::{Exit, Failure},
    visible::visible,
};

/// The variable that contains the token if no file does. Not an option, because other users can see command lines.
const TOKEN_VARIABLE: &str = "SSE_BUS_TOKEN";

/// The options, which all commands have.
#[derive(Debug, Default, Args)]
#[expect(clippy::doc_markdown, reason = "the comments are help texts")]
#[command(next_help_heading = "Global options")]
pub(crate) struct Remote {
    /// The URL of a daemon elsewhere, such as https://bus.example, instead of a local socket
    #[arg(long, global = true, value_name = "URL", env = "SSE_BUS_URL")]
    pub(crate) url: Option<String>,
    /// With --url: a file that contains the token, which SSE_BUS_TOKEN can contain instead
    #[arg(long, global = true, value_name = "FILE", env = "SSE_BUS_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// With --url: a PEM file of certificate authorities to trust instead of those of the system
    #[arg(long, global = true, value_name = "FILE", env = "SSE_BUS_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// With --url: send the token even over plain HTTP to another machine, where it can be read on the way
    #[arg(long, global = true, env = "SSE_BUS_PLAINTEXT_TOKEN", value_parser = BoolishValueParser::new())]
    pub(crate) plaintext_token: bool,
}

/// Returns the daemon at a URL, with the token and the authorities that the options name.
pub(crate) fn daemon(url: &str, options: &Remote) -> Result<client::Remote, Failure> {
    let wrong = |error: RemoteError| Failure::new(Exit::Usage, format!("--url {}: {error}", visible(url)));
    let mut remote = client::Remote::parse(url).map_err(wrong)?;
    if let Some(file) = &options.ca_file {
        remote = remote.with_authorities(file).map_err(|e| unusable("certificate authorities", file, &e))?;
    }
    let token = match &options.token_file {
        Some(file) => Some(read_token(file).map_err(|e| unusable("token", file, &e))?),
        None => std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()),
    };
    match token {
        None => Ok(remote),
        Some(token) if options.plaintext_token => remote.with_plaintext_token(&token).map_err(wrong),
        Some(token) => remote.with_token(&token).map_err(|error| match error {
            RemoteError::PlaintextToken(_) => {
                let message = format!("{error}; use https or, if the network itself is encrypted, --plaintext-token");
                Failure::new(Exit::Usage, message)
            }
            error => wrong(error),
        }),
    }
}

fn unusable(what: &str, file: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Usage, format!("the {what} in {} cannot be used: {error}", file.display()))
}

/// Reads the token from a file, which may contain the JSON of `sse-busctl token create`.
pub(crate) fn read_token(path: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begin = text.find(PREFIX).ok_or_else(|| io::Error::other("the file contains no token"))?;
    Ok(text[begin..].split(|c| !is_part(c)).next().unwrap_or_default().to_owned())
}
