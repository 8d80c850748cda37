//! Quoting for the shell commands that messages suggest.

use std::borrow::Cow;

/// Returns a text quoted such that a POSIX shell reads it as one word.
///
/// ```
/// assert_eq!(sse_bus::shell::quoted("/run/bus.sock"), "/run/bus.sock");
/// assert_eq!(sse_bus::shell::quoted("it's; reboot"), r"'it'\''s; reboot'");
/// ```
pub fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_one_word() {
        let words = ["http://localhost:3000", "a b", "$(reboot)", "it's", ""];
        let wanted = ["http://localhost:3000", "'a b'", "'$(reboot)'", r"'it'\''s'", "''"];
        assert_eq!(words.map(quoted), wanted);
    }
}
