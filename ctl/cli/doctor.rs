//! The command line of `sse-busctl doctor`.

use std::path::PathBuf;

use clap::Args;

use crate::exit;

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Warnings are no problem: the exit code is 1 only where something does not work, and 3 where no daemon is there.

Examples:
  sse-busctl doctor
  sse-busctl doctor --url https://bus.example/ --token-file phone.token
  sse-busctl doctor --json | jq -r 'select(.state == \"problem\") | .mend'"))]
pub(crate) struct Doctor {
    /// Also send an event through this URL of the daemon, such as that of a proxy before it, and time it
    #[arg(long, value_name = "URL", env = "SSE_BUS_DOCTOR_URL", hide_env = true)]
    pub(crate) url: Option<String>,
    /// With --url: a file that holds the token to subscribe with
    #[arg(long, value_name = "FILE", requires = "url", env = "SSE_BUS_DOCTOR_TOKEN_FILE", hide_env = true)]
    pub(crate) token_file: Option<PathBuf>,
}
