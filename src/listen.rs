//! The TCP addresses on which the daemon listens: one address, or both loopback addresses.
//!
//! The configuration of the daemon and `sse-busctl service` accept the same addresses.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// SSE on a telephone keypad.
const PORT: u16 = 7733;

/// An address, or both loopback addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// One address.
    Address(SocketAddr),
    /// `localhost:PORT`: `127.0.0.1`, and `[::1]` where there is IPv6. Programs try either first, and where only one is
    /// served another user could take the other.
    Localhost(u16),
}

impl Listen {
    /// The default.
    pub const USUAL: Listen = Listen::Localhost(PORT);

    /// Returns its addresses on this machine.
    pub fn addresses(self) -> Vec<SocketAddr> {
        match self {
            Listen::Address(address) => vec![address],
            Listen::Localhost(port) => {
                let both = [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (Ipv6Addr::LOCALHOST, port).into()];
                both.into_iter().filter(|address| address.is_ipv4() || has_ipv6()).collect()
            }
        }
    }

    /// Returns all addresses of a list, each once.
    pub fn all(list: &[Listen]) -> Vec<SocketAddr> {
        let mut all = Vec::new();
        for address in list.iter().flat_map(|listen| listen.addresses()) {
            if address.port() == 0 || !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }
}

/// Returns false if this machine has no `::1`: no IPv6 at all, or no address on its loopback interface. Other errors are
/// reported when the address is bound.
fn has_ipv6() -> bool {
    match UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::AddrNotAvailable && error.raw_os_error() != Some(NO_FAMILY),
    }
}

/// `EAFNOSUPPORT`, for which the standard library has no `ErrorKind`.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NO_FAMILY: i32 = 97;
#[cfg(windows)]
const NO_FAMILY: i32 = 10047;
#[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
const NO_FAMILY: i32 = 47;

/// The text is not a [`Listen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an address and a port, such as 127.0.0.1:7733 or [::1]:7733, or localhost:7733 for both")]
pub struct InvalidListen;

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Listen, InvalidListen> {
        let port = text.rsplit_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("localhost"));
        match port {
            Some((_, port)) => port.parse().ok().map(Listen::Localhost),
            None => text.parse().ok().map(Listen::Address),
        }
        .ok_or(InvalidListen)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Address(address) => address.fmt(f),
            Listen::Localhost(port) => write!(f, "localhost:{port}"),
        }
    }
}

/// Serializes a list as in the configuration file: one on its own, or several in brackets.
pub fn serialize<S: Serializer>(list: &[Listen], serializer: S) -> Result<S::Ok, S::Error> {
    let texts: Vec<String> = list.iter().map(ToString::to_string).collect();
    match &texts[..] {
        [one] => one.serialize(serializer),
        several => several.serialize(serializer),
    }
}

/// Deserializes a list, which must not be empty.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Listen>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        One(String),
        Several(Vec<String>),
    }
    let texts = match Written::deserialize(deserializer)? {
        Written::One(text) => vec![text],
        Written::Several(texts) if texts.is_empty() => return Err(de::Error::custom("write at least one address")),
        Written::Several(texts) => texts,
    };
    texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_localhost_are_read_and_written_alike() {
        for text in ["127.0.0.1:0", "[::1]:7733", "0.0.0.0:80", "localhost:7733", "localhost:0"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        assert_eq!("LocalHost:1".parse(), Ok(Listen::Localhost(1)));
        for text in
            ["", "localhost", "localhost:", "localhost:65536", "example:80", "7733", ":7733", "::1:7733", "127.0.0.1"]
        {
            assert!(text.parse::<Listen>().unwrap_err().to_string().contains("localhost:7733"), "{text}");
        }
    }

    #[test]
    fn localhost_is_both_loopback_addresses_where_there_is_ipv6() {
        let addresses: Vec<_> = Listen::Localhost(7).addresses().iter().map(ToString::to_string).collect();
        let both = ["127.0.0.1:7", "[::1]:7"];
        let has_ipv6 = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        assert_eq!(addresses, both[..if has_ipv6 { 2 } else { 1 }]);
    }

    #[test]
    fn a_list_is_one_address_or_several_and_not_empty() {
        let read = |json: &str| deserialize(&mut serde_json::Deserializer::from_str(json));
        for json in [r#""localhost:7""#, r#"["localhost:7","127.0.0.1:8"]"#] {
            let mut written = Vec::new();
            serialize(&read(json).unwrap(), &mut serde_json::Serializer::new(&mut written)).unwrap();
            assert_eq!(String::from_utf8(written).unwrap(), json);
        }
        assert!(read("[]").unwrap_err().to_string().starts_with("write at least one address"));
    }

    #[test]
    fn an_address_that_is_named_twice_is_one() {
        let list = ["localhost:7", "127.0.0.1:7", "127.0.0.1:8"].map(|text| text.parse().unwrap());
        let all = Listen::all(&list);
        assert_eq!(all.iter().filter(|address| address.to_string() == "127.0.0.1:7").count(), 1, "{all:?}");
        assert_eq!(all.last().unwrap().to_string(), "127.0.0.1:8");
    }
}
