//! The options of `sse-busctl status`.

use clap::{Args, builder::BoolishValueParser};

use crate::exit;

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl status
  sse-busctl status --config"))]
pub(crate) struct Status {
    /// Tell the daemon's configuration instead: each value as it counts now, and where it comes from
    ///
    /// That is a flag, a variable, the file with line and column, the service manager that holds the socket, or nothing
    /// but the default.
    #[arg(long, env = "SSE_BUS_STATUS_CONFIG", hide_env = true, value_parser = BoolishValueParser::new())]
    pub(crate) config: bool,
}
