//! The request headers `Host` and `Origin`, parsed: two spellings of the same host or origin are equal.
//!
//! Only the forms that browsers send are accepted. Unusual forms (a user name, `127.1`, a port with a leading zero) do not
//! parse, and therefore equal no allowed host or origin. As in browsers, `localhost.` with a final dot is the same host as
//! `localhost`, but another origin.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// A host, and a port unless it is the default one: those of a request, or those from which a page was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) host: Host,
    pub(crate) port: Option<u16>,
}

/// A name in lower case, with its final dot if it has one, or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

/// The origin of a page. Two are equal if browsers treat them as the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

/// The scheme with which a page was fetched. Other origins, such as `null` of a page from a file, do not
/// parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
    }
}

impl Authority {
    /// Parses `host` or `host:port`.
    pub(crate) fn parse(text: &str) -> Option<Authority> {
        // An IPv6 address contains colons, and is in brackets.
        let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
        let (host, rest) = text.split_at(end);
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(digits.parse::<u16>().ok().filter(|port| port.to_string() == digits)?),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Authority { host: Host::parse(host)?, port })
    }
}

impl Host {
    fn parse(text: &str) -> Option<Host> {
        /// Bytes of a name (RFC 1035, 2.3.4).
        const NAME_MAX: usize = 253;
        if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return address.parse::<Ipv6Addr>().ok().map(|address| Host::Address(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Host::Address(address.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        // A name that ends in a number is an address in another notation (URL standard, "ends in a number").
        let ends_in_number =
            name.rsplit('.').next().is_some_and(|label| label.starts_with(|c: char| c.is_ascii_digit()));
        let is_name = name.len() <= NAME_MAX && name.split('.').all(is_label) && !ends_in_number;
        is_name.then(|| Host::Name(text.to_ascii_lowercase()))
    }

    /// Returns true if the host is this machine: `localhost`, names that end in `.localhost` (RFC 6761, 6.3), and the loopback
    /// addresses.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Host::Name(_) => self.name().is_some_and(|name| name == "localhost" || name.ends_with(".localhost")),
            Host::Address(address) => address.to_canonical().is_loopback(),
        }
    }

    /// Returns true if both are the same host, with or without a final dot.
    pub(crate) fn is_same(&self, other: &Host) -> bool {
        match (self.name(), other.name()) {
            (Some(name), Some(other)) => name == other,
            _ => self == other,
        }
    }

    /// Returns the name without a final dot.
    fn name(&self) -> Option<&str> {
        match self {
            Host::Name(name) => Some(name.strip_suffix('.').unwrap_or(name)),
            Host::Address(_) => None,
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Origin {
    /// Parses `scheme://host` or `scheme://host:port`.
    pub(crate) fn parse(text: &str) -> Option<Origin> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
            _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            _ => return None,
        };
        Authority::parse(authority).map(|authority| Origin::new(scheme, authority))
    }

    /// Returns the origin of pages that were fetched with this scheme from this host and port. Browsers omit the default port.
    pub(crate) fn new(scheme: Scheme, mut authority: Authority) -> Origin {
        authority.port = authority.port.filter(|port| *port != scheme.default_port());
        Origin { scheme, authority }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for (given, written) in [
            ("http://localhost", "http://localhost"),
            ("HTTP://LocalHost:80", "http://localhost"),
            ("https://app.example:443", "https://app.example"),
            ("https://app.example:8443", "https://app.example:8443"),
            ("http://[0:0:0:0:0:0:0:1]:7733", "http://[::1]:7733"),
        ] {
            assert_eq!(Origin::parse(given).unwrap().to_string(), written, "{given}");
        }
    }

    #[test]
    fn a_dot_at_the_end_makes_another_origin_of_the_same_host() {
        let [plain, dotted] = ["http://a:1", "http://A.:1"].map(|text| Origin::parse(text).unwrap());
        assert!(plain != dotted && plain.authority.host.is_same(&dotted.authority.host));
        assert_eq!(dotted.to_string(), "http://a.:1");
    }

    #[test]
    fn loopback_has_addresses_and_names() {
        let is_loopback = |text| Authority::parse(text).unwrap().host.is_loopback();
        for host in
            ["localhost", "LocalHost.", "bus.localhost", "127.0.0.1", "127.8.9.1", "[::1]", "[::ffff:127.0.0.1]"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "notlocalhost", "0.0.0.0", "[::]", "10.0.0.1", "[::ffff:10.0.0.1]"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn what_no_browser_writes_is_nothing() {
        for text in [
            "",
            "null",
            "*",
            "localhost",
            "file://",
            "data://x",
            "http://",
            "http://a/",
            "http://a/b",
            "http://a?b",
            "http://u@a",
            "http://u:p@a:1",
            "http://a..",
            "http://127.0.0.1.",
            "http://.a",
            "http://a..b",
            "http://a b",
            "http://a:",
            "http://a:0x50",
            "http://a:080",
            "http://a:+80",
            "http://a:65536",
            "http://[::1",
            "http://::1",
            "http://[::1]x",
            "http://127.1",
            "http://0x7f.1",
            "http://2130706433",
            "http://a%2eb",
            "http://[fe80::1%25eth0]",
            "http://ａ",
            "http://a\0",
            "http://a,http://b",
            "http://a http://b",
            " http://a",
            "http://a ",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
        assert_eq!(Authority::parse(&"a".repeat(8 << 10)), None);
    }
}
