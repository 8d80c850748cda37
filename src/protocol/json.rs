//! The JSON codec: one value per line, with LF or CRLF at its end, so that a shell script can use it.
//!
//! U+0085, U+2028 and U+2029 are escaped, because some clients end a line there (Python's `splitlines`, which httpx
//! uses to read streams).

use std::io::{self, Write};

use memchr::memchr2_iter;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Serializer, ser::Formatter};

/// The byte order mark that some programs write at the start of a text. It is skipped before the first line.
pub const BOM: &[u8] = "\u{feff}".as_bytes();

/// Appends a value as one line.
pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    let start = out.len();
    // Writing to a Vec fails only for maps with keys that are not strings; the protocol has none.
    if value.serialize(&mut Serializer::with_formatter(&mut *out, OnOneLine)).is_err() {
        out.truncate(start);
    }
    out.push(b'\n');
}

/// Compact JSON without characters that end a line.
struct OnOneLine;

impl Formatter for OnOneLine {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let bytes = fragment.as_bytes();
        let mut done = 0;
        // The encoding of each starts with one of two bytes.
        for at in memchr2_iter(0xc2, 0xe2, bytes) {
            let (length, escape) = match &bytes[at..] {
                [0xc2, 0x85, ..] => (2, br"\u0085"),
                [0xe2, 0x80, 0xa8, ..] => (3, br"\u2028"),
                [0xe2, 0x80, 0xa9, ..] => (3, br"\u2029"),
                _ => continue,
            };
            writer.write_all(&bytes[done..at])?;
            writer.write_all(escape)?;
            done = at + length;
        }
        writer.write_all(&bytes[done..])
    }
}

/// A line cannot be decoded. Displayed as the reason with the column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(String);

/// Decodes one line, without its line break.
///
/// # Errors
///
/// Returns [`DecodeError`] if the line is not JSON or not a value of this type.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, DecodeError> {
    // The line number is always 1 and would only confuse.
    serde_json::from_slice(line).map_err(|e| DecodeError(e.to_string().replace(" at line 1 column ", " at column ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_within_a_value_ends_the_line() {
        let text = "a\u{85}b\u{2028}\u{2029}c\r\n\u{b}\u{c}\u{1c}\u{1d}\u{1e}â\u{2027}\u{202a}\u{86}Âé";
        let mut line = Vec::new();
        encode(&text, &mut line);
        let line = String::from_utf8(line).unwrap();
        // All characters at which Python's `str.splitlines` splits.
        let ends = ['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
        assert_eq!(line.find(ends), Some(line.len() - 1), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        assert!(line.contains(r"a\u0085b\u2028\u2029c"), "{line}");
    }
}
