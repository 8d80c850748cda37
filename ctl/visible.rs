//! Makes hidden characters visible, so that text from other users cannot control the terminal or look like something
//! else.

use std::{borrow::Cow, fmt::Write as _};

/// Returns a text of one line with hidden characters made visible.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    replaced(text, |c| is_hidden(c) && c != '\t', show)
}

/// Returns a text of several lines with hidden characters made visible.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| is_hidden(c) && !matches!(c, '\t' | '\n'), show)
}

/// Returns true for characters that control the terminal or are not shown: control characters, characters that change
/// the direction of text (bidi), and characters without a width. Variation selectors are allowed, because emoji use
/// them.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Replaces some characters of a text.
pub(crate) fn replaced(text: &str, is_replaced: impl Fn(char) -> bool, replace: fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(&is_replaced) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_replaced(c) { replace(c, &mut shown) } else { shown.push(c) }
    }
    shown.into()
}

/// Writes the Unicode control picture of an ASCII control character, or the code point of another character.
fn show(c: char, out: &mut String) {
    match c {
        '\0'..='\x1f' => out.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}')),
        '\x7f' => out.push('\u{2421}'),
        c => {
            let _ = write!(out, "<U+{:04X}>", u32::from(c));
        }
    }
}

/// Writes a character as a JSON escape.
pub(crate) fn escape(c: char, out: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_made_visible() {
        assert_eq!(visible("plain\ttext é"), "plain\ttext é");
        assert_eq!(visible("\x1b[31mred\x07\u{9b}\x7f"), "\u{241b}[31mred\u{2407}<U+009B>\u{2421}");
        assert_eq!(visible("a\u{202e}b\u{200b}c\u{e0041}\n"), "a<U+202E>b<U+200B>c<U+E0041>\u{240a}");
        assert_eq!(visible_lines("a\r\n\tb"), "a\u{240d}\n\tb");
        assert_eq!(visible("❤\u{fe0f} مرحبا"), "❤\u{fe0f} مرحبا");
    }
}
