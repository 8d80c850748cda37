//! Suggestions for command lines that are nearly right: names of other programs' commands, misspelt options, and data that
//! is not quoted.

use std::ffi::{OsStr, OsString};

use clap::{
    Command,
    builder::StyledStr,
    error::{ContextKind, ContextValue, Error, ErrorKind},
};
use sse_bus::shell::quoted;

/// Words for commands in other programs.
const OTHER_WORDS: [(&str, &[&str]); 9] = [
    ("publish", &["emit", "post", "put", "produce", "push", "notify", "write", "fire", "trigger"]),
    (
        "subscribe",
        &["listen", "watch", "tail", "receive", "consume", "follow", "read", "monitor", "stream", "on", "get"],
    ),
    ("history", &["replay", "events", "past", "log"]),
    ("clients", &["connections", "subscribers", "who", "ps"]),
    ("topics", &["ls", "list", "channels"]),
    ("kick", &["disconnect", "drop", "kill", "close"]),
    ("status", &["info", "stats", "ping", "health", "state", "config"]),
    ("doctor", &["check", "diagnose", "debug"]),
    ("service", &["start", "stop", "restart", "install", "uninstall", "enable", "run", "logs", "serve"]),
];
/// Two names are similar from this Jaro similarity on, as in clap.
const SIMILAR: f64 = 0.7;

/// Adds suggestions to the error of a command line.
pub(super) fn with_suggestions(error: Error, command: &mut Command, arguments: &[OsString]) -> Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => match text(ContextKind::InvalidSubcommand).and_then(|word| meant(&word)) {
            Some(name) => with(error, ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![name.to_owned()])),
            None => error,
        },
        ErrorKind::ValueValidation | ErrorKind::UnknownArgument => {
            let word = text(ContextKind::InvalidValue).or_else(|| text(ContextKind::InvalidArg)).unwrap_or_default();
            command.build();
            match subcommand(command, arguments) {
                Some(command) if takes_data(command) => for_data(error, command, arguments, &word),
                _ => error,
            }
        }
        _ => error,
    }
}

/// Returns the command that a word of other programs stands for.
fn meant(word: &str) -> Option<&'static str> {
    OTHER_WORDS.iter().find(|(_, words)| words.contains(&word)).map(|(name, _)| *name)
}

/// Returns the subcommand that the arguments name.
fn subcommand<'a>(command: &'a Command, arguments: &[OsString]) -> Option<&'a Command> {
    arguments.iter().skip(1).find_map(|argument| command.find_subcommand(argument))
}

/// Returns true for commands with data, which may begin with a dash, so that a misspelt option can be taken for it.
fn takes_data(command: &Command) -> bool {
    command.get_positionals().any(|argument| argument.get_id() == "data")
}

/// Improves the error about an argument of a command with data.
fn for_data(error: Error, command: &Command, arguments: &[OsString], word: &str) -> Error {
    let Some(index) = arguments.iter().position(|argument| argument == word) else { return error };
    // A misspelt option before its value is taken for the data, and then the value is the unexpected argument.
    let previous = index.checked_sub(1).map(|index| &arguments[index]);
    for option in [Some(&arguments[index]), previous].into_iter().flatten() {
        if let Some(name) = unknown_option(command, option) {
            return unknown(&error, command, name);
        }
    }
    if error.kind() != ErrorKind::UnknownArgument || word.starts_with('-') {
        return error;
    }
    let is_word = |argument: &&OsString| !argument.to_string_lossy().starts_with('-');
    let before = arguments[..index].iter().rev().take(1).filter(is_word);
    let words: Vec<_> =
        before.chain(arguments[index..].iter().take_while(is_word)).map(|word| word.to_string_lossy()).collect();
    let tip = format!("quote the data: {}", quoted(&words.join(" ")));
    with(error, ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]))
}

/// Returns the name in an argument such as `--typ` or `--typ=done` if the command has no such option.
fn unknown_option<'a>(command: &Command, argument: &'a OsStr) -> Option<&'a str> {
    let name = argument.to_str()?.strip_prefix("--")?.split('=').next()?;
    let is_known = |option: &clap::Arg| option.get_long() == Some(name);
    (!name.is_empty() && !command.get_arguments().any(is_known)).then_some(name)
}

/// Returns the error for an unknown option, with the most similar one.
fn unknown(error: &Error, command: &Command, name: &str) -> Error {
    let similarity = |long: &str| strsim::jaro(long, name);
    let options = command.get_arguments().filter(|option| !option.is_hide_set()).filter_map(clap::Arg::get_long);
    let nearest = options.max_by(|one, other| similarity(one).total_cmp(&similarity(other)));
    let mut unknown = Error::new(ErrorKind::UnknownArgument).with_cmd(command);
    unknown.insert(ContextKind::InvalidArg, ContextValue::String(format!("--{name}")));
    if let Some(nearest) = nearest.filter(|nearest| similarity(nearest) >= SIMILAR) {
        unknown.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{nearest}")));
    }
    let tip = "if it is the data, write `--` before it";
    unknown.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    if let Some(usage) = error.get(ContextKind::Usage) {
        unknown.insert(ContextKind::Usage, usage.clone());
    }
    unknown
}

fn with(mut error: Error, kind: ContextKind, value: ContextValue) -> Error {
    error.insert(kind, value);
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    /// The error message for a command line.
    fn message(line: &str) -> String {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = command().try_get_matches_from(&arguments).expect_err(line);
        with_suggestions(error, &mut command(), &arguments).to_string()
    }

    #[test]
    fn every_suggested_command_exists_and_no_command_is_a_word_for_another() {
        let command = command();
        for (name, words) in OTHER_WORDS {
            assert!(command.find_subcommand(name).is_some(), "{name}");
            for word in words {
                assert!(command.find_subcommand(word).is_none(), "{word}");
                assert!(message(&format!("sse-busctl {word}")).contains(&format!("'{name}'")), "{word}");
            }
        }
    }

    #[test]
    fn a_misspelt_option_is_not_taken_for_the_data() {
        for line in [
            "sse-busctl publish hello --typ done",
            "sse-busctl publish hello --typ=done",
            "sse-busctl publish hello x --typ done",
            "sse-busctl pub hello --typ",
            "sse-busctl send phone --typ done x",
        ] {
            let message = message(line);
            assert!(message.contains("'--typ' found") && message.contains("'--type'"), "{line}: {message}");
        }
        assert!(message("sse-busctl subscribe --cuont 1").contains("'--count'"));
    }

    #[test]
    fn data_of_several_words_must_be_quoted() {
        for line in ["sse-busctl publish hello good morning --type x", "sse-busctl send phone good morning"] {
            assert!(message(line).contains("quote the data: 'good morning'"), "{}", message(line));
        }
    }
}
