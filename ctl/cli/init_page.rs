//! The options of `sse-busctl init-page`.

use clap::Args;

use crate::exit;

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busd --pages ~/bus-pages
  sse-busctl init-page hello"))]
pub(crate) struct InitPage {
    /// The name of the page; `.html` is added
    pub(crate) name: String,
}
