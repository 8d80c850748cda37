//! Secrets and their digests.

use std::{fmt, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The prefix of all tokens, by which people and scanners recognize them.
pub const PREFIX: &str = "ssebus_";

/// The digest of a secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of a text that a client presents as a secret.
    pub fn of(secret: &str) -> Digest {
        Digest(Sha256::digest(secret).into())
    }

    /// Compares in constant time.
    pub(super) fn equals(&self, other: &Digest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut digest = [0; 32];
        let digits = text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
        let written =
            digest.iter_mut().zip(digits).filter_map(|(byte, digit)| digit.map(|digit| *byte = digit)).count();
        match written {
            32 if text.len() == 64 => Ok(Digest(digest)),
            _ => Err(serde::de::Error::custom("a digest is 64 hexadecimal digits")),
        }
    }
}

/// A secret. It is shown once and not stored; its `Debug` output does not contain it.
pub struct Secret(String);

impl Secret {
    /// Returns a secret of 256 random bits after a prefix.
    ///
    /// # Errors
    ///
    /// The system has no source of randomness.
    pub fn random(prefix: &str) -> io::Result<Secret> {
        Ok(Secret(format!("{prefix}{}", hex(&random::<32>()?))))
    }

    /// Returns the secret, to show or compare it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Returns a name of 32 random bits after a prefix. Not a secret.
///
/// # Errors
///
/// The system has no source of randomness.
pub fn random_name(prefix: &str) -> io::Result<String> {
    Ok(format!("{prefix}{}", hex(&random::<4>()?)))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| io::Error::other(format!("the system has no source of randomness: {e}")))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_names_are_random_hexadecimal_digits_after_their_prefix() {
        let secret = || Secret::random(PREFIX).unwrap();
        let name = || random_name("t").unwrap();
        assert_ne!(secret().reveal(), secret().reveal());
        assert_ne!(name(), name());
        for (text, prefix, digits) in [(secret().reveal(), PREFIX, 64), (&name(), "t", 8)] {
            let random = text.strip_prefix(prefix).unwrap();
            assert_eq!(random.len(), digits, "{text}");
            assert!(random.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{text}");
        }
    }

    #[test]
    fn debug_output_contains_neither_a_secret_nor_its_digest() {
        let secret = Secret::random(PREFIX).unwrap();
        assert_eq!(format!("{secret:?} {:?}", Digest::of(secret.reveal())), "Secret Digest");
    }

    #[test]
    fn a_digest_is_read_as_it_is_written_and_has_an_exact_length() {
        let digest = Digest::of("secret");
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(text.len(), 64 + 2);
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        let digits = text.trim_matches('"');
        for wrong in
            [&digits[..62], &digits[..63], &format!("{digits}0"), &format!("{digits}00"), &format!("{digits}x")]
        {
            assert!(serde_json::from_str::<Digest>(&format!("\"{wrong}\"")).is_err(), "{wrong}");
        }
    }
}
