//! The output format, chosen by `--format` or `--json`.

use clap::{ArgMatches, Command, ValueEnum, error::ErrorKind, parser::ValueSource};

/// The output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON value per line; of an event `{"id","topic","type","time","headers","data"}`, `headers` only if there are any
    Json,
    /// Of events only: the data and a line break
    Data,
    /// Of events only: Server-Sent Events, as received by browsers
    Sse,
}

impl Format {
    /// Returns the name of the format on the command line.
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Returns the format that `--format` and `--json` choose together. An option on the command line overrides a variable; two
/// that disagree are refused, and so is a format of events for a command that prints none.
pub(super) fn chosen(
    matches: &ArgMatches,
    has_events: bool,
    command: &mut Command,
) -> Result<Option<Format>, clap::Error> {
    let is_typed = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
    let format = matches.get_one::<Format>("format").copied();
    if matches.get_flag("json") {
        match format {
            Some(other) if other != Format::Json && is_typed("json") == is_typed("format") => {
                let message = format!("--json cannot be used with --format {}; leave one of them out", other.name());
                return Err(command.error(ErrorKind::ArgumentConflict, message));
            }
            Some(_) if is_typed("format") => {}
            _ => return Ok(Some(Format::Json)),
        }
    }
    match format {
        Some(format @ (Format::Data | Format::Sse)) if !has_events && is_typed("format") => {
            let message = format!("--format {} is for events, which this command does not print", format.name());
            Err(command.error(ErrorKind::ArgumentConflict, message))
        }
        // A variable is for the commands that can use it.
        Some(Format::Data | Format::Sse) if !has_events => Ok(None),
        format => Ok(format),
    }
}
