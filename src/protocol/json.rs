//! The JSON codec: one value a line, LF (or CRLF) at its end, so that a shell needs no library.

use serde::{Serialize, de::DeserializeOwned};

/// Appends a value as one line.
pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    let start = out.len();
    // Writing to a Vec fails only for maps with keys that are no strings; the protocol has none.
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
    }
    out.push(b'\n');
}

/// Decodes one line, without its line break.
///
/// # Errors
///
/// Says what is wrong with the line, and at which column.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|e| {
        let text = e.to_string();
        // The line number is always 1 here and says nothing.
        text.replace(" at line 1 column ", " at column ")
    })
}
