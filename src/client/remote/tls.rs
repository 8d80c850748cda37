//! TLS to a daemon elsewhere: its certificate is verified against the authorities of the system or of a file.
//!
//! Builds without the feature `remote-tls` accept no `https` URL, and a connection is never attempted.

#[cfg(not(feature = "remote-tls"))]
pub(super) use self::disabled::Tls;
#[cfg(feature = "remote-tls")]
pub(super) use self::enabled::Tls;

#[cfg(feature = "remote-tls")]
mod enabled {
    use std::{
        io,
        path::Path,
        sync::{Arc, OnceLock},
    };

    use tokio::net::TcpStream;
    use tokio_rustls::{
        TlsConnector,
        client::TlsStream,
        rustls::{
            self, ClientConfig, RootCertStore,
            pki_types::{
                CertificateDer, ServerName,
                pem::{self, PemObject},
            },
        },
    };

    use crate::client::remote::error::RemoteError;

    /// The authorities that a client trusts.
    #[derive(Clone, Default)]
    pub(crate) struct Tls {
        /// The authorities of the system are read when they are first needed: that takes some milliseconds.
        config: OnceLock<Arc<ClientConfig>>,
    }

    impl Tls {
        /// Trusts the authorities in a PEM file.
        pub(crate) fn of_file(file: &Path) -> Result<Tls, RemoteError> {
            let read = |error| match error {
                pem::Error::Io(error) => RemoteError::Authorities(error),
                error => RemoteError::Authorities(io::Error::new(io::ErrorKind::InvalidData, error)),
            };
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(file).map_err(read)? {
                let invalid = |error| RemoteError::Authorities(io::Error::new(io::ErrorKind::InvalidData, error));
                roots.add(certificate.map_err(read)?).map_err(invalid)?;
            }
            if roots.is_empty() {
                let error = io::Error::new(io::ErrorKind::InvalidData, "the file contains no certificate");
                return Err(RemoteError::Authorities(error));
            }
            Ok(Tls { config: config(roots).into() })
        }

        /// Performs the handshake.
        pub(crate) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let config = self.config.get_or_init(|| config(system_roots())).clone();
            TlsConnector::from(config).connect(name, stream).await.map_err(|error| match as_rustls(&error) {
                Some(rustls::Error::InvalidMessage(_)) => io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the server does not use TLS; if that is intended, write http:// instead of https://",
                ),
                _ => error,
            })
        }

        /// Returns the error of a certificate that cannot be verified.
        pub(crate) fn untrusted(error: &io::Error) -> Option<String> {
            match as_rustls(error)? {
                error @ rustls::Error::InvalidCertificate(_) => Some(error.to_string()),
                _ => None,
            }
        }
    }

    fn as_rustls(error: &io::Error) -> Option<&rustls::Error> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns the authorities of the system. Those that cannot be read are not trusted.
    fn system_roots() -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    }

    fn config(roots: RootCertStore) -> Arc<ClientConfig> {
        // Named, because a program can have several providers, of which none is the default then.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.into()
    }
}

#[cfg(not(feature = "remote-tls"))]
mod disabled {
    use std::{io, path::Path};

    use tokio::net::TcpStream;

    use crate::client::remote::error::RemoteError;

    /// No TLS.
    #[derive(Clone, Default)]
    pub(crate) struct Tls {}

    impl Tls {
        pub(crate) fn of_file(_: &Path) -> Result<Tls, RemoteError> {
            Err(RemoteError::NoTls)
        }

        #[expect(clippy::unused_async, reason = "the same interface as with TLS")]
        pub(crate) async fn connect(&self, _: &str, _: TcpStream) -> io::Result<TcpStream> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(crate) fn untrusted(_: &io::Error) -> Option<String> {
            None
        }
    }
}
