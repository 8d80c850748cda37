//! The headers of an event: named values beside its data, such as `traceparent`.
//!
//! Names follow the rules of HTTP: letters, digits and some punctuation. They are case-insensitive, stored in lower
//! case, and unique. Values are text without control characters. Headers above [`HEADERS_MAX`] or [`HEADERS_BYTES`] are
//! refused. For an event without headers they cost one pointer.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::{HEADERS_BYTES, HEADERS_MAX};

/// The headers of an event, all valid.
///
/// ```
/// let headers = sse_bus::Headers::parse([("TraceParent", "00-4bf9")]).unwrap();
/// assert_eq!(headers.get("traceparent"), Some("00-4bf9"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Option<Box<Lines>>);

/// `name:value` and a line feed for each header. Names contain no colon, and values no line feed.
#[derive(Clone, PartialEq, Eq)]
struct Lines(Box<str>);

impl Headers {
    /// Validates headers. Their order is preserved.
    ///
    /// # Errors
    ///
    /// Returns [`HeadersError`] for the first invalid header.
    pub fn parse<N: AsRef<str>, V: AsRef<str>>(
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Headers, HeadersError> {
        let mut parsed = Headers::default();
        let (mut lines, mut count) = (String::new(), 0);
        for (name, value) in headers {
            let (name, value) = (name.as_ref(), value.as_ref());
            check_name(name)?;
            if value.contains(char::is_control) {
                return Err(HeadersError::Value(shown(name)));
            }
            let name = name.to_ascii_lowercase();
            if find(&lines, &name).is_some() {
                return Err(HeadersError::Repeated(shown(&name)));
            }
            count += 1;
            if count > HEADERS_MAX {
                return Err(HeadersError::TooMany(shown(&name)));
            }
            // Writing to a String does not fail.
            let _ = writeln!(lines, "{name}:{value}");
            if lines.len() - 2 * count > HEADERS_BYTES {
                return Err(HeadersError::TooLong(shown(&name)));
            }
        }
        if !lines.is_empty() {
            parsed.0 = Some(Lines(lines.into()).into());
        }
        Ok(parsed)
    }

    /// Parses the text that [`Headers::as_lines`] returns.
    pub fn from_lines(lines: &str) -> Result<Headers, HeadersError> {
        Headers::parse(split(lines))
    }

    /// Returns the headers as text: `name:value` and a line feed for each.
    pub fn as_lines(&self) -> &str {
        self.0.as_ref().map_or("", |lines| &lines.0)
    }

    /// Returns true if there are no headers.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the value of a header. The name is case-insensitive.
    pub fn get(&self, name: &str) -> Option<&str> {
        find(self.as_lines(), name)
    }

    /// Returns names and values, in the order in which they were published.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        split(self.as_lines())
    }

    /// Returns the memory that headers need if their [text](Headers::as_lines) has this length, in bytes.
    #[cfg(any(feature = "bus", test))]
    pub(crate) fn cost_of(lines: usize) -> usize {
        // Two allocations, each with the overhead of the allocator.
        const ALLOCATED: usize = 2 * 16;
        if lines == 0 { 0 } else { size_of::<Lines>() + ALLOCATED + lines }
    }
}

fn split(lines: &str) -> impl Iterator<Item = (&str, &str)> {
    lines.split_terminator('\n').map(|line| line.split_once(':').unwrap_or((line, "")))
}

fn find<'a>(lines: &'a str, name: &str) -> Option<&'a str> {
    split(lines).find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn check_name(name: &str) -> Result<(), HeadersError> {
    // RFC 9110, section 5.6.2: a token.
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    match name {
        "" => Err(HeadersError::NoName),
        _ if name.bytes().all(is_legal) => Ok(()),
        _ => Err(HeadersError::Name(shown(name))),
    }
}

/// Returns a name for an error message: shortened and printable.
fn shown(name: &str) -> String {
    let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
    if name.chars().nth(60).is_some() { shown + "…" } else { shown }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Serialized as an object of names and values.
impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Headers, D::Error> {
        Headers::parse(unchecked::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Serialization of headers that are not validated yet, as an object. Of more than [`HEADERS_MAX`] headers a decoder
/// stores one too many, so that they are refused.
pub(crate) mod unchecked {
    use super::{Deserializer, HEADERS_MAX, Serializer, de, fmt};

    pub(crate) fn serialize<S: Serializer>(headers: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(headers.iter().map(|(name, value)| (name, value)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
        struct Object;
        impl<'de> de::Visitor<'de> for Object {
            type Value = Vec<(String, String)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of headers, each a string")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut headers = Vec::new();
                while let Some(header) = map.next_entry()? {
                    if headers.len() <= HEADERS_MAX {
                        headers.push(header);
                    }
                }
                Ok(headers)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Why headers are invalid. Contains the name of the invalid header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadersError {
    /// A header has no name.
    #[error("a header has no name; write one such as `traceparent`")]
    NoName,
    /// The name is not an HTTP field name.
    #[error("the header `{0}` cannot be used: a name consists of letters, digits and any of !#$%&'*+-.^_`|~")]
    Name(String),
    /// The value contains a control character.
    #[error("the header `{0}` cannot be used: its value contains a control character; remove or encode it")]
    Value(String),
    /// The name occurs twice.
    #[error("the header `{0}` occurs twice; write it once (upper and lower case are the same)")]
    Repeated(String),
    /// There are more than [`HEADERS_MAX`] headers. Contains the first one above the limit.
    #[error("the header `{0}` is one too many: an event has at most {HEADERS_MAX} headers")]
    TooMany(String),
    /// Names and values together exceed [`HEADERS_BYTES`]. Contains the first header above the limit.
    #[error(
        "the header `{0}` is too long: names and values together have at most {HEADERS_BYTES} bytes; move the rest to the \
         data"
    )]
    TooLong(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(headers: &[(&str, &str)]) -> HeadersError {
        Headers::parse(headers.iter().copied()).unwrap_err()
    }

    #[test]
    fn headers_keep_their_order_and_names_become_lower_case() {
        let headers = Headers::parse([("Z-Last", "1: a"), ("a!", ""), ("b", "é=\u{2028}")]).unwrap();
        let pairs = [("z-last", "1: a"), ("a!", ""), ("b", "é=\u{2028}")];
        assert_eq!(headers.iter().collect::<Vec<_>>(), pairs);
        assert_eq!((headers.get("Z-LAST"), headers.get("c")), (Some("1: a"), None));
        assert_eq!(Headers::from_lines(headers.as_lines()), Ok(headers.clone()));
        let json = serde_json::to_string(&headers).unwrap();
        assert_eq!(json, "{\"z-last\":\"1: a\",\"a!\":\"\",\"b\":\"é=\u{2028}\"}");
        assert_eq!(serde_json::from_str::<Headers>(&json).unwrap(), headers);
    }

    #[test]
    fn an_event_without_headers_costs_one_pointer() {
        assert_eq!(size_of::<Headers>(), size_of::<usize>());
        let none = Headers::parse::<&str, &str>([]).unwrap();
        assert_eq!((none.is_empty(), none.as_lines(), Headers::cost_of(0)), (true, "", 0));
        assert_eq!(Headers::from_lines(""), Ok(none));
        // Others cost their text, and a fixed amount.
        assert!(Headers::cost_of(1) < 100);
        assert_eq!(Headers::cost_of(1000) - Headers::cost_of(1), 999);
    }

    #[test]
    fn invalid_headers_are_refused_with_their_name() {
        assert_eq!(refused(&[("", "x")]), HeadersError::NoName);
        for name in ["a b", "a:b", "a=b", "é", "a\n", "a/b", "\"a\""] {
            assert!(matches!(refused(&[(name, "x")]), HeadersError::Name(_)), "{name}");
        }
        for value in ["\n", "a\0", "\t", "\u{85}", "\u{7f}"] {
            assert_eq!(refused(&[("ok", "fine"), ("n", value)]), HeadersError::Value("n".into()), "{value:?}");
        }
        assert_eq!(refused(&[("a", "1"), ("b", "2"), ("A", "3")]), HeadersError::Repeated("a".into()));
        assert_eq!(
            serde_json::from_str::<Headers>(r#"{"a":"1","A":"1"}"#).unwrap_err().to_string().find("twice"),
            Some(22)
        );
    }

    #[test]
    fn number_and_length_have_exact_limits() {
        let many = |n: usize| Headers::parse((0..n).map(|n| (format!("h{n}"), "")));
        assert_eq!(many(HEADERS_MAX).unwrap().iter().count(), HEADERS_MAX);
        assert_eq!(many(HEADERS_MAX + 1), Err(HeadersError::TooMany(format!("h{HEADERS_MAX}"))));
        let long = |bytes: usize| Headers::parse([("ab", String::new()), ("cd", "x".repeat(bytes - 4))]);
        assert_eq!(long(HEADERS_BYTES).unwrap().get("cd").map(str::len), Some(HEADERS_BYTES - 4));
        assert_eq!(long(HEADERS_BYTES + 1), Err(HeadersError::TooLong("cd".into())));
        // Colons and line feeds between names and values are not counted.
        let value = "x".repeat(HEADERS_BYTES / HEADERS_MAX - 2);
        let full = Headers::parse((10..10 + HEADERS_MAX).map(|n| (n.to_string(), &value))).unwrap();
        assert_eq!(full.as_lines().len(), HEADERS_BYTES + 2 * HEADERS_MAX);
        let name = "n".repeat(10_000);
        assert!(refused(&[(&name, "")]).to_string().len() < 300);
    }
}
