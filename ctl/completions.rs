//! `sse-busctl completions`: scripts that complete commands, options, topics, clients and tokens in a shell.
//!
//! The script makes the shell run `sse-busctl` with [`VARIABLE`] set and the words of the command line, so that the
//! completions always match the installed program.

use clap_complete::{
    CompleteEnv,
    env::{Bash, EnvCompleter, Fish, Powershell, Zsh},
};

use crate::{
    cli::{self, Shell},
    exit::Failure,
    output::Output,
};

/// Set by the shell to request completions.
const VARIABLE: &str = "SSE_BUS_COMPLETE";

/// Prints completions and ends the process, if the shell requests them.
pub(crate) fn complete() {
    CompleteEnv::with_factory(cli::command).var(VARIABLE).complete();
}

pub(crate) fn run(output: &Output, options: &cli::Completions) -> Result<(), Failure> {
    let shell: &dyn EnvCompleter = match options.shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        Shell::Powershell => &Powershell,
    };
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "sse-busctl", "sse-busctl", "sse-busctl", &mut script)?;
    if matches!(options.shell, Shell::Zsh) {
        // Zsh loads a file in `$fpath` by running it for the first completion, so it must also answer that one.
        script.extend_from_slice(b"[[ $funcstack[1] != _sse-busctl ]] || _clap_dynamic_completer_sse_busctl \"$@\"\n");
    }
    output.write(&script)?;
    Ok(())
}
