//! The command lines of `sse-busctl completions` and `sse-busctl man`, whose output packages install.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::exit;

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  source <(sse-busctl completions bash)     # in ~/.bashrc
  source <(sse-busctl completions zsh)      # in ~/.zshrc, after compinit
  sse-busctl completions fish | source      # in ~/.config/fish/config.fish
  sse-busctl completions powershell | Out-String | Invoke-Expression     # in $PROFILE"))]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

/// The supported shells.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

#[derive(Debug, Args)]
#[command(after_long_help = exit::with_codes("\
Examples:
  sse-busctl man pages && man pages/sse-busctl-publish.1"))]
pub(crate) struct Man {
    /// The output directory, which is created if it does not exist
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
