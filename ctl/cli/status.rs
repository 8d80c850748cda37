//! The command line of `sse-busctl status`.

use clap::{Args, builder::BoolishValueParser};

use crate::exit;

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl status
  sse-busctl status --config"))]
pub(crate) struct Status {
    /// Show the current configuration instead: each value and its source
    ///
    /// The source is an option, a variable, a line and column of the file, the service manager that holds the socket,
    /// or the default.
    #[arg(long, env = "SSE_BUS_STATUS_CONFIG", value_parser = BoolishValueParser::new())]
    pub(crate) config: bool,
}
