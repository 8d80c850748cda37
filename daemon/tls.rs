//! TLS for TCP, in builds with the feature `tls`: one certificate, and HTTP/2 or HTTP/1.1 as negotiated (ALPN).
//!
//! Other builds refuse a configuration with TLS, and a [`Tls`] cannot exist.

#[cfg(feature = "tls")]
pub(crate) use self::enabled::{Accepted, Tls};

#[cfg(feature = "tls")]
mod enabled {
    use std::{
        fmt, io,
        path::{Path, PathBuf},
        sync::Arc,
    };

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
        pub(crate) fn read(cert: &Path, key: &Path) -> Result<Tls, TlsError> {
            let cert_wrong = |mistake| TlsError::Cert { cert: cert.to_owned(), mistake };
            let key_wrong = |mistake| TlsError::Key { key: key.to_owned(), mistake };
            let chain = CertificateDer::pem_file_iter(cert)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|e| cert_wrong(e.into()))?;
            if chain.is_empty() {
                return Err(cert_wrong(Mistake::NoCertificate));
            }
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| key_wrong(e.into()))?;
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(TlsError::Setup)?
                .with_no_client_auth()
                .with_single_cert(chain, secret);
            let mut config = config.map_err(|e| match e {
                rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { key: key.into(), cert: cert.into() },
                rustls::Error::InvalidCertificate(e) => cert_wrong(Mistake::Certificate(e)),
                e => key_wrong(Mistake::Key(e)),
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

    /// Why a certificate and its key cannot be used. The message names the file and what to do.
    #[derive(Debug, thiserror::Error)]
    pub(crate) enum TlsError {
        #[error("tls_cert = {}: {mistake}; name a PEM file with the certificate, then its chain", .cert.display())]
        Cert { cert: PathBuf, mistake: Mistake },
        #[error("tls_key = {}: {mistake}; name the PEM file with the certificate's private key", .key.display())]
        Key { key: PathBuf, mistake: Mistake },
        #[error(
            "tls_key = {} is not the key of tls_cert = {}; name the two files that belong together",
            .key.display(), .cert.display()
        )]
        Mismatch { key: PathBuf, cert: PathBuf },
        #[error("cannot set up TLS: {0}")]
        Setup(rustls::Error),
    }

    /// What is wrong with a file.
    #[derive(Debug, thiserror::Error)]
    pub(crate) enum Mistake {
        #[error("it contains no certificate")]
        NoCertificate,
        #[error("it contains no private key")]
        NoKey,
        #[error("{0}")]
        Io(io::Error),
        #[error("it is not PEM ({0})")]
        NotPem(pem::Error),
        #[error("the certificate cannot be used: {0}")]
        Certificate(rustls::CertificateError),
        #[error("the key cannot be used: {0}")]
        Key(rustls::Error),
    }

    impl From<pem::Error> for Mistake {
        fn from(error: pem::Error) -> Mistake {
            match error {
                pem::Error::NoItemsFound => Mistake::NoKey,
                pem::Error::Io(e) => Mistake::Io(e),
                e => Mistake::NotPem(e),
            }
        }
    }
}

/// This build has no TLS.
#[cfg(not(feature = "tls"))]
#[derive(Debug, thiserror::Error)]
#[error(
    "tls_cert = {}: this sse-busd is built without TLS; build it with `cargo build --features tls`",
    .0.display()
)]
pub(crate) struct TlsError(std::path::PathBuf);

/// Cannot exist in this build.
#[cfg(not(feature = "tls"))]
#[derive(Clone, Debug)]
pub(crate) enum Tls {}

#[cfg(not(feature = "tls"))]
impl Tls {
    /// Refuses: this build has no TLS.
    pub(crate) fn read(cert: &std::path::Path, _: &std::path::Path) -> Result<Tls, TlsError> {
        Err(TlsError(cert.to_owned()))
    }
}
