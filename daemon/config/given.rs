//! Flags and environment variables as they were given, before anything is checked.

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, builder::Resettable};
use sse_bus::flags::{Check, Flags};

/// What the command line and the environment ask for.
#[derive(Debug)]
pub(crate) struct Given {
    pub(super) flags: Flags,
    pub(super) matches: ArgMatches,
}

/// What the program does with its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Run,
    /// Checks it and reports the result.
    Check(Check),
    /// Prints a configuration file with all defaults.
    PrintConfig,
}

impl Given {
    /// Parses the process's arguments and environment. An empty variable counts as unset.
    ///
    /// # Errors
    ///
    /// A flag is wrong, or asks for help or the version; clap's error prints the answer and exits.
    pub(crate) fn parse() -> Result<Given, clap::Error> {
        let command = Flags::command().mut_args(|arg| arg.hide_env_values(true)).mut_args(|arg| {
            match arg.get_env().and_then(std::env::var_os) {
                Some(value) if value.is_empty() => arg.env(Resettable::Reset),
                _ => arg,
            }
        });
        let matches = command.try_get_matches_from(std::env::args_os())?;
        Ok(Given { flags: Flags::from_arg_matches(&matches)?, matches })
    }

    /// Returns what to do.
    pub(crate) fn mode(&self) -> Mode {
        match self.flags.check {
            _ if self.flags.print_config => Mode::PrintConfig,
            Some(check) if check != Check::No => Mode::Check(check),
            _ => Mode::Run,
        }
    }

    /// Returns the definition of the flags.
    pub(super) fn command() -> Command {
        Flags::command()
    }
}
