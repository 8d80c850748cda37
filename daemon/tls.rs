//! TLS for TCP, in builds with the feature `tls`: one certificate, and HTTP/2 or HTTP/1.1 as negotiated (ALPN).
//!
//! Other builds refuse a configuration with TLS, and a [`Tls`] cannot exist.

#[cfg(feature = "tls")]
pub(crate) use self::enabled::{Accepted, Tls};

#[cfg(feature = "tls")]
mod enabled {
    use std::{fmt, io, path::Path, sync::Arc};

    use tokio::io::{AsyncRead, AsyncWrite};
    use tokio_rustls::{
        TlsAcceptor,
        rustls::{
            self, ServerConfig,
            pki_types::{
                CertificateDer, PrivateKeyDer,
                pem::{self, PemObject},
            },
        },
        server::TlsStream,
    };

    const HTTP2: &[u8] = b"h2";

    /// A certificate and its key.
    #[derive(Clone)]
    pub(crate) struct Tls(TlsAcceptor);

    impl fmt::Debug for Tls {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Tls")
        }
    }

    /// A connection after its handshake.
    pub(crate) struct Accepted<S> {
        pub(crate) stream: TlsStream<S>,
        /// The peer speaks HTTP/2, otherwise HTTP/1.1.
        pub(crate) is_http2: bool,
    }

    impl Tls {
        /// Reads the two files.
        ///
        /// # Errors
        ///
        /// Names the file that cannot be used, and what to do.
        pub(crate) fn read(cert: &Path, key: &Path) -> Result<Tls, String> {
            let cert_wrong = |what: &str| {
                format!("tls_cert = {}: {what}; name a PEM file with the certificate, then its chain", cert.display())
            };
            let key_wrong = |what: &str| {
                format!("tls_key = {}: {what}; name the PEM file with the certificate's private key", key.display())
            };
            let chain = CertificateDer::pem_file_iter(cert)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|e| cert_wrong(&explain(e)))?;
            if chain.is_empty() {
                return Err(cert_wrong("it contains no certificate"));
            }
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| key_wrong(&explain(e)))?;
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|e| format!("cannot set up TLS: {e}"))?
                .with_no_client_auth()
                .with_single_cert(chain, secret);
            let mut config = config.map_err(|e| match e {
                rustls::Error::InconsistentKeys(_) => format!(
                    "tls_key = {} is not the key of tls_cert = {}; name the two files that belong together",
                    key.display(),
                    cert.display()
                ),
                rustls::Error::InvalidCertificate(e) => cert_wrong(&format!("the certificate cannot be used: {e}")),
                e => key_wrong(&format!("the key cannot be used: {e}")),
            })?;
            config.alpn_protocols = vec![HTTP2.into(), b"http/1.1".into()];
            Ok(Tls(TlsAcceptor::from(Arc::new(config))))
        }

        /// Performs the handshake.
        pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<Accepted<S>> {
            let stream = self.0.accept(stream).await?;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
            Ok(Accepted { stream, is_http2 })
        }
    }

    fn explain(error: pem::Error) -> String {
        match error {
            pem::Error::NoItemsFound => "it contains no private key".into(),
            pem::Error::Io(e) => e.to_string(),
            e => format!("it is not PEM ({e})"),
        }
    }
}

/// Cannot exist in this build.
#[cfg(not(feature = "tls"))]
#[derive(Clone, Debug)]
pub(crate) enum Tls {}

#[cfg(not(feature = "tls"))]
impl Tls {
    /// Refuses: this build has no TLS.
    pub(crate) fn read(cert: &std::path::Path, _: &std::path::Path) -> Result<Tls, String> {
        let cert = cert.display();
        Err(format!(
            "tls_cert = {cert}: this sse-busd is built without TLS; build it with `cargo build --features tls`"
        ))
    }
}
