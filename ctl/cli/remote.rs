//! The options for a daemon elsewhere, of all commands.

use std::path::PathBuf;

use clap::{Args, builder::BoolishValueParser};

#[derive(Debug, Args)]
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
