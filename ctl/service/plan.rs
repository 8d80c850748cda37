//! What a service manager is told: files, and commands. Made without touching anything, so that it can be printed.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

/// In every file that `service install` writes. A file without it is somebody else's.
const MARK: &str = "Written by `sse-busctl service install`";

/// A file, as it should be.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Written as UTF-16, as Windows wants it.
    pub(super) wide: bool,
}

impl File {
    pub(super) fn new(path: PathBuf, text: String) -> File {
        File { path, text, wide: false }
    }

    /// What stands in the file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        if self.wide { wide(&format!("\u{feff}{}", self.text)) } else { self.text.clone().into_bytes() }
    }
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Whether a file was written by `service install`, in either encoding.
pub(super) fn is_ours(content: &[u8]) -> bool {
    let holds = |mark: &[u8]| content.windows(mark.len()).any(|part| part == mark);
    holds(MARK.as_bytes()) || holds(&wide(MARK))
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run(pub(super) Vec<String>);

impl Run {
    /// Of words that are known, and others after them.
    pub(super) fn new(words: &str, others: impl IntoIterator<Item = impl Into<String>>) -> Run {
        Run(words.split(' ').map(str::to_owned).chain(others.into_iter().map(Into::into)).collect())
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.0[0]);
        command.args(&self.0[1..]);
        command
    }
}

/// As it would be typed.
impl fmt::Display for Run {
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

/// A file of `packaging/` with other values in the place of its own. The files there are whole, so that packages install
/// them as they are.
pub(super) fn render(template: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(template.to_owned(), |text, (usual, value)| {
        debug_assert!(template.contains(usual), "{usual} is not in the template");
        text.replace(usual, value)
    })
}

/// A path as text, if it can stand in a file of lines: it must neither end the line nor have it go on in the next, and a
/// space at the end would be lost.
pub(super) fn text_of(path: &Path) -> Result<&str, String> {
    path.to_str()
        .filter(|text| !text.contains(char::is_control) && !text.ends_with(['\\', ' ']))
        .ok_or_else(|| format!("{} cannot stand in a service's file; choose another path", path.display()))
}

/// Text between tags of XML.
pub(super) fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_ours_is_known_in_both_encodings() {
        let text = format!("# {MARK}, …\n");
        for wide in [false, true] {
            let file = File { path: "x".into(), text: text.clone(), wide };
            assert!(is_ours(&file.bytes()), "wide: {wide}");
        }
        assert!(!is_ours(b"[Unit]\nDescription=mine\n"));
    }

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let run = Run::new("mkdir -p", ["/Users/USER/Application Support", ""]);
        assert_eq!(run.to_string(), r#"mkdir -p "/Users/USER/Application Support" """#);
    }
}
