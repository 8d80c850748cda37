//! The files and commands of a service. They are created without side effects, so that they can be printed.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use super::error::ServiceError;

/// Contained in all files that `service install` writes. Files without it are not overwritten or removed.
const MARK: &str = "Written by `sse-busctl service install`";

/// A file of a service.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Written as UTF-16, as Windows requires.
    pub(super) wide: bool,
}

impl File {
    pub(super) fn new(path: PathBuf, text: String) -> File {
        File { path, text, wide: false }
    }

    /// Returns the content of the file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        if self.wide { wide(&format!("\u{feff}{}", self.text)) } else { self.text.clone().into_bytes() }
    }
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Returns true if `service install` wrote a file with this content, in either encoding.
pub(super) fn has_mark(content: &[u8]) -> bool {
    let contains = |mark: &[u8]| content.windows(mark.len()).any(|part| part == mark);
    contains(MARK.as_bytes()) || contains(&wide(MARK))
}

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandLine(pub(super) Vec<String>);

impl CommandLine {
    /// Returns a command from fixed words, separated by spaces, and further arguments.
    pub(super) fn new(words: &str, others: impl IntoIterator<Item = impl Into<String>>) -> CommandLine {
        CommandLine(words.split(' ').map(str::to_owned).chain(others.into_iter().map(Into::into)).collect())
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.0[0]);
        command.args(&self.0[1..]);
        command
    }
}

/// Displayed as it would be typed.
impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            let plain = |c: char| c.is_alphanumeric() || "-_./=:@%\\,+".contains(c);
            let space = if index == 0 { "" } else { " " };
            match word {
                plain_word if !plain_word.is_empty() && plain_word.chars().all(plain) => write!(f, "{space}{word}")?,
                _ => write!(f, "{space}\"{word}\"")?,
            }
        }
        Ok(())
    }
}

/// Returns a file of `packaging/` with some of its values replaced. Those files are complete, so that packages can
/// install them unchanged.
pub(super) fn render(template: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(template.to_owned(), |text, (default, value)| {
        debug_assert!(template.contains(default), "{default} is not in the template");
        text.replace(default, value)
    })
}

/// Returns a path as text for a line of a service file. Line breaks and a `\` or space at the end are refused, because
/// they would end or continue the line, or be lost.
pub(super) fn text_of(path: &Path) -> Result<&str, ServiceError> {
    path.to_str()
        .filter(|text| !text.contains(char::is_control) && !text.ends_with(['\\', ' ']))
        .ok_or_else(|| ServiceError::InvalidPath(path.to_owned()))
}

/// Escapes text for XML.
pub(super) fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_found_in_both_encodings() {
        let text = format!("# {MARK}, …\n");
        for wide in [false, true] {
            let file = File { path: "x".into(), text: text.clone(), wide };
            assert!(has_mark(&file.bytes()), "wide: {wide}");
        }
        assert!(!has_mark(b"[Unit]\nDescription=mine\n"));
    }

    #[test]
    fn a_command_is_displayed_as_it_would_be_typed() {
        let command = CommandLine::new("mkdir -p", ["/Users/USER/Application Support", ""]);
        assert_eq!(command.to_string(), r#"mkdir -p "/Users/USER/Application Support" """#);
    }
}
