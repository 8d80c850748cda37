//! The encoding of data, which must be UTF-8.

use std::borrow::Cow;

/// The data is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EncodingError {
    #[error("it is not UTF-8 after byte {0}; --lossy replaces invalid bytes")]
    NotUtf8(usize),
    #[error("it is UTF-16; convert it with `iconv -f UTF-16 -t UTF-8`")]
    Utf16,
}

/// Returns data as UTF-8. With `is_lossy` invalid bytes are replaced.
pub(super) fn utf8(data: &[u8], is_lossy: bool) -> Result<Cow<'_, [u8]>, EncodingError> {
    if is_utf16(data) {
        return Err(EncodingError::Utf16);
    }
    match str::from_utf8(data) {
        Ok(_) => Ok(data.into()),
        Err(_) if is_lossy => Ok(match String::from_utf8_lossy(data) {
            Cow::Borrowed(text) => text.as_bytes().into(),
            Cow::Owned(text) => text.into_bytes().into(),
        }),
        Err(error) => Err(EncodingError::NotUtf8(error.valid_up_to())),
    }
}

/// Returns true for text in UTF-16: it begins with a byte order mark, or every second byte is NUL, as in most languages with
/// Latin letters. A part of such a text, split at the bytes of line breaks, can begin with either byte.
fn is_utf16(data: &[u8]) -> bool {
    let is_nul = |first: usize| data.len() >= 4 && data.iter().skip(first).step_by(2).all(|byte| *byte == 0);
    data.starts_with(b"\xff\xfe") || data.starts_with(b"\xfe\xff") || is_nul(0) || is_nul(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_bytes_are_replaced_only_on_request() {
        assert_eq!(utf8("é\0".as_bytes(), false), Ok("é\0".as_bytes().into()));
        assert_eq!(utf8(b"ok \xff\xc3(", false), Err(EncodingError::NotUtf8(3)));
        assert_eq!(utf8(b"ok \xff\xc3(", true), Ok("ok \u{fffd}\u{fffd}(".as_bytes().into()));
    }

    #[test]
    fn utf16_is_recognized_by_its_mark_or_its_zeros() {
        let little: Vec<u8> = "abc\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "abc\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for text in [&little[..], &big, b"\xff\xfe", b"\xfe\xff\x30\x42"] {
            assert_eq!(utf8(text, true), Err(EncodingError::Utf16), "{text:?}");
        }
        for text in [&b"a\0b"[..], b"", b"\0", b"a\0", b"a\0bc"] {
            assert!(utf8(text, false).is_ok(), "{text:?}");
        }
    }
}
