//! Parsers for the values of options, with the same error messages in both programs.

use std::{ops::RangeInclusive, time::Duration};

use bytesize::ByteSize;

/// Why a value is invalid: how to write it instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// It is no duration.
    #[error("write a number with a unit, such as `30s`, `5m` or `1h30m`")]
    Duration,
    /// It is no size.
    #[error("write a size such as `64KiB` or `16MiB`")]
    Size,
    /// It is no whole number, or less than the least one.
    #[error("write a whole number, {0} or more")]
    NumberFrom(u64),
    /// It is no whole number, or not within the range.
    #[error("write a whole number from {0} to {1}")]
    NumberWithin(u64, u64),
}

/// Parses a duration such as `90s` or `1h30m`.
///
/// # Errors
///
/// It is no duration.
///
/// ```
/// use std::time::Duration;
/// use sse_bus::values::parse_duration;
/// assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
/// assert!(parse_duration("never").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, InvalidValue> {
    humantime::parse_duration(text).map_err(|_| InvalidValue::Duration)
}

/// Parses a size such as `16MiB`. A number without a unit is in bytes.
///
/// # Errors
///
/// It is no size.
pub fn parse_size(text: &str) -> Result<ByteSize, InvalidValue> {
    text.parse().map_err(|_| InvalidValue::Size)
}

/// Returns a parser of whole numbers within a range, which must be one of `T`.
pub fn number<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, InvalidValue> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or(match (*range.start(), *range.end()) {
            (least, u64::MAX) => InvalidValue::NumberFrom(least),
            (least, most) => InvalidValue::NumberWithin(least, most),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_how_to_write_the_value() {
        let from_one = number::<u64>(1..=u64::MAX);
        assert_eq!((from_one("1"), from_one("18446744073709551615")), (Ok(1), Ok(u64::MAX)));
        for text in ["", "x", "0", "-1", "1.5", "1k", "18446744073709551616"] {
            assert_eq!(from_one(text), Err(InvalidValue::NumberFrom(1)), "{text}");
        }
        let uid = number::<u32>(0..=u32::MAX.into());
        assert_eq!((uid("0"), uid("4294967295")), (Ok(0), Ok(u32::MAX)));
        assert_eq!(uid("4294967296").unwrap_err().to_string(), "write a whole number from 0 to 4294967295");
        assert_eq!(parse_size("1KiB"), Ok(ByteSize(1024)));
        for text in ["", "x", "-1", "1 parsec"] {
            assert_eq!(parse_size(text), Err(InvalidValue::Size), "{text}");
        }
        for text in ["", "10", "never", "-1s", "1x"] {
            assert_eq!(parse_duration(text), Err(InvalidValue::Duration), "{text}");
        }
    }
}
