//! The command line of `sse-busctl doctor`.

use std::path::PathBuf;

use clap::Args;

use crate::exit;

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Warnings do not affect the exit code: it is 1 if something does not work, and 3 if no daemon runs.

Examples:
  sse-busctl doctor
  sse-busctl doctor --url https://bus.example/ --token-file phone.token
  sse-busctl doctor --json | jq -r 'select(.state == \"problem\") | .fix'"))]
pub(crate) struct Doctor {
    /// Also send an event through this URL of the daemon, for example that of a reverse proxy, and measure its latency
    #[arg(long, value_name = "URL", env = "SSE_BUS_DOCTOR_URL")]
    pub(crate) url: Option<String>,
    /// With --url: a file that contains the token for the subscription
    #[arg(long, value_name = "FILE", requires = "url", env = "SSE_BUS_DOCTOR_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
}
