//! The URL of a daemon elsewhere, with the token and the certificate authorities for its connections.

use std::{fmt, net::IpAddr, path::Path, sync::Arc};

use hyper::{Uri, header::HeaderValue};

use super::{error::RemoteError, tls::Tls};

/// A daemon elsewhere: its URL, and how to authenticate both ends.
///
/// ```
/// use sse_bus::client::Remote;
/// let remote = Remote::parse("https://bus.example/build").unwrap().with_token("ssebus_1").unwrap();
/// assert_eq!(remote.to_string(), "https://bus.example/build");
/// assert!(Remote::parse("http://bus.example").unwrap().with_token("ssebus_1").is_err());
/// ```
#[derive(Clone)]
pub struct Remote(Arc<Parts>);

#[derive(Clone)]
struct Parts {
    is_https: bool,
    /// A name or an IP address, without brackets.
    host: String,
    port: u16,
    /// The host and the port as in the URL, for the header `Host`.
    authority: HeaderValue,
    /// The path before the routes of the daemon, without a final `/`.
    path: String,
    /// The value of the header `Authorization`.
    authorization: Option<HeaderValue>,
    tls: Tls,
}

impl Remote {
    /// Parses the URL of a daemon, such as `https://bus.example` or, behind a proxy, `https://example.com/bus`.
    pub fn parse(url: &str) -> Result<Remote, RemoteError> {
        let uri: Uri = url.parse()?;
        let is_https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") if cfg!(feature = "remote-tls") => true,
            Some("https") => return Err(RemoteError::NoTls),
            _ => return Err(RemoteError::NotHttp),
        };
        let Some(authority) = uri.authority() else { return Err(RemoteError::NotHttp) };
        if authority.as_str().contains('@') {
            return Err(RemoteError::Credentials);
        }
        if uri.query().is_some() {
            return Err(RemoteError::Query);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(RemoteError::NotHttp);
        }
        Ok(Remote(Arc::new(Parts {
            is_https,
            host: host.into(),
            port: authority.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str())?,
            path: uri.path().trim_end_matches('/').into(),
            authorization: None,
            tls: Tls::default(),
        })))
    }

    /// Authenticates with a token.
    ///
    /// # Errors
    ///
    /// The token is invalid, or the URL is plain HTTP to another machine: see
    /// [`with_plaintext_token`](Remote::with_plaintext_token).
    pub fn with_token(self, token: &str) -> Result<Remote, RemoteError> {
        if !self.0.is_https && !self.is_loopback() {
            return Err(RemoteError::PlaintextToken(self.0.host.clone()));
        }
        self.with_plaintext_token(token)
    }

    /// Authenticates with a token even over plain HTTP to another machine, for networks that encrypt by themselves.
    ///
    /// # Errors
    ///
    /// The token is invalid.
    pub fn with_plaintext_token(mut self, token: &str) -> Result<Remote, RemoteError> {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
        value.set_sensitive(true);
        Arc::make_mut(&mut self.0).authorization = Some(value);
        Ok(self)
    }

    /// Trusts the certificate authorities in a PEM file, instead of those of the system.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or contains no certificate.
    pub fn with_authorities(mut self, file: &Path) -> Result<Remote, RemoteError> {
        Arc::make_mut(&mut self.0).tls = Tls::of_file(file)?;
        Ok(self)
    }

    /// Returns true if the host is this machine.
    pub fn is_loopback(&self) -> bool {
        let host = &*self.0.host;
        match host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost"),
        }
    }

    /// Returns true if the host may have an address. Names of this machine never lead elsewhere: some resolvers send names such
    /// as `bus.localhost` to a name server, whose answer could otherwise lead a token over plain HTTP to another machine.
    pub(super) fn accepts(&self, address: IpAddr) -> bool {
        !self.is_loopback() || address.is_loopback()
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.is_https
    }

    pub(super) fn host(&self) -> &str {
        &self.0.host
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port
    }

    pub(super) fn authority(&self) -> &HeaderValue {
        &self.0.authority
    }

    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.0.authorization.as_ref()
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.0.tls
    }

    /// Returns the target of a request for one of the daemon's routes.
    pub(super) fn target(&self, route: &str) -> String {
        format!("{}{route}", self.0.path)
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.0.is_https { "https" } else { "http" };
        // It was parsed from text.
        write!(f, "{scheme}://{}{}", self.0.authority.to_str().unwrap_or_default(), self.0.path)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_final_slash() {
        for (url, shown, host, port) in [
            ("http://127.0.0.1:7733/", "http://127.0.0.1:7733", "127.0.0.1", 7733),
            ("http://[::1]:7733", "http://[::1]:7733", "::1", 7733),
            ("http://localhost", "http://localhost", "localhost", 80),
            ("http://bus.example/a/b/", "http://bus.example/a/b", "bus.example", 80),
        ] {
            let remote = Remote::parse(url).unwrap();
            assert_eq!((&*remote.to_string(), remote.host(), remote.port()), (shown, host, port));
        }
        assert_eq!(Remote::parse("http://a/b/").unwrap().target("/events"), "/b/events");
    }

    #[test]
    fn a_name_of_this_machine_leads_only_to_loopback_addresses() {
        let accepts = |url: &str, address: &str| Remote::parse(url).unwrap().accepts(address.parse().unwrap());
        for url in ["http://localhost", "http://bus.localhost", "http://bus.LOCALHOST"] {
            assert!(accepts(url, "127.0.0.1") && accepts(url, "::1"), "{url}");
            assert!(!accepts(url, "192.0.2.1") && !accepts(url, "2001:db8::1"), "{url}");
        }
        assert!(accepts("http://bus.example", "192.0.2.1") && accepts("http://bus.example", "127.0.0.1"));
    }

    #[test]
    fn other_texts_are_refused() {
        for url in ["", "bus.example", "bus.example:7733", "/run/bus.sock", "ftp://a", "http://", "http://a b"] {
            assert!(Remote::parse(url).is_err(), "{url}");
        }
        assert!(matches!(Remote::parse("http://user:secret@a"), Err(RemoteError::Credentials)));
        assert!(matches!(Remote::parse("http://a/?topic=b"), Err(RemoteError::Query)));
    }

    #[test]
    fn a_token_is_sent_over_plain_http_only_to_this_machine_or_on_request() {
        for url in ["http://127.0.0.1:7733", "http://[::1]", "http://localhost:1", "http://bus.localhost"] {
            assert!(Remote::parse(url).unwrap().with_token("t").is_ok(), "{url}");
        }
        for url in ["http://192.0.2.1", "http://bus.example", "http://localhost.example", "http://[::2]"] {
            let remote = Remote::parse(url).unwrap();
            assert!(matches!(remote.clone().with_token("t"), Err(RemoteError::PlaintextToken(_))), "{url}");
            assert!(remote.with_plaintext_token("t").is_ok(), "{url}");
        }
        let remote = Remote::parse("http://localhost").unwrap();
        assert!(matches!(remote.clone().with_token("a\nb"), Err(RemoteError::Token(_))));
        assert!(!format!("{:?}", remote.with_token("secret").unwrap()).contains("secret"));
    }
}
