//! The command line of `sse-busctl completions`: what a package installs beside the programs.

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

/// A shell that can complete.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}
