//! TLS to the box, by rustls with the primitives of ring: both build and work on big-endian MIPS.
//!
//! Boxes have certificates of their operator's own authority, whose four roots are known here; a user's own domain has one
//! of a public authority, for which the system's bundle can be named. Nothing is checked by the clock of the box.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use async_io::Async;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::{cipher_suite, kx_group};
use rustls::crypto::{
    CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::SigningKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};
use webpki::ring as signatures;

use crate::error::{Error, Result};
use crate::files;
use crate::sys::clock;

/// Whether this program has TLS.
pub const IS_THERE: bool = true;

/// The roots of Free (France) and Iliad (Italy), as they publish them.
static ROOTS: [&[u8]; 4] = [
    include_bytes!("roots/freebox-ecc.der"),
    include_bytes!("roots/freebox.der"),
    include_bytes!("roots/iliadbox-ecc.der"),
    include_bytes!("roots/iliadbox-rsa.der"),
];
/// Longest file with roots, in bytes: those of a whole system take 250 kB.
const MAX_BUNDLE: u64 = 1 << 20;

/// Whose certificates are taken.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Reads the roots in a PEM file, or takes those known here; without `verify` everybody is believed.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate.
    pub fn new(bundle: Option<&Path>, verify: bool) -> Result<Trust> {
        let mut roots = RootCertStore::empty();
        match bundle {
            Some(path) => {
                let tried = || format!("read the root certificates in {}", path.display());
                let lines = files::read_lines(path, MAX_BUNDLE).map_err(|source| Error::io(tried(), source))?;
                let bytes = lines.ok_or_else(|| Error::failed(tried(), "there is no such file"))?.bytes;
                roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).flatten());
                if roots.is_empty() {
                    return Err(Error::failed(tried(), "it holds no certificate")
                        .remedy("give a PEM file in freebox.ca_bundle"));
                }
            }
            None => _ = roots.add_parsable_certificates(ROOTS.iter().map(|root| CertificateDer::from(*root))),
        }
        let provider = Arc::new(provider());
        let config = ClientConfig::builder_with_details(provider.clone(), Arc::new(WallClock));
        let config = config.with_safe_default_protocol_versions();
        let config = config.map_err(|error| Error::failed("set up TLS", error.to_string()))?;
        let config = match verify {
            true => config.with_root_certificates(roots),
            false => config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        };
        Ok(Trust(Arc::new(config.with_no_client_auth())))
    }
}

/// The time that certificates are checked against: ours, as the standard library's panics beyond 2038 on 32-bit routers.
#[derive(Debug)]
struct WallClock;

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(clock::realtime()))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

/// A connection whose other end has proved to be who it should be.
pub struct Stream {
    socket: Async<TcpStream>,
    session: ClientConnection,
}

impl Stream {
    /// Shakes hands.
    ///
    /// # Errors
    /// The other end does not speak TLS, or has no certificate for this name.
    pub async fn open(socket: Async<TcpStream>, name: &str, trust: &Trust) -> Result<Stream> {
        let tried = || format!("trust what says that it is {name}");
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let server = match bare.parse::<IpAddr>() {
            Ok(addr) => ServerName::from(addr),
            Err(_) => ServerName::try_from(bare.to_owned()).map_err(|_| Error::failed(tried(), "that is no name"))?,
        };
        let session = ClientConnection::new(trust.0.clone(), server);
        let session = session.map_err(|error| Error::failed(tried(), error.to_string()))?;
        let mut stream = Stream { socket, session };
        while stream.session.is_handshaking() {
            stream.turn().await.map_err(|error| {
                Error::failed(tried(), error.to_string()).remedy(
                    "see freebox.ca_bundle, freebox.tls_name and the clock of this machine, or set freebox.tls to off",
                )
            })?;
        }
        Ok(stream)
    }

    /// Sends all of it.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.session.writer().write_all(bytes)?;
        self.flush().await
    }

    /// Reads some; 0 at the end.
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.turn().await?,
                other => return other,
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let Stream { socket, session } = self;
        while session.wants_write() {
            socket.write_with(|mut socket| session.write_tls(&mut socket)).await?;
        }
        Ok(())
    }

    /// Sends what is to be sent, then takes in what arrives.
    async fn turn(&mut self) -> io::Result<()> {
        self.flush().await?;
        let Stream { socket, session } = self;
        if session.wants_read() {
            let got = socket.read_with(|mut socket| session.read_tls(&mut socket)).await?;
            let outcome = session.process_new_packets().map(drop);
            if let Err(error) = outcome {
                // It carries the alert that tells the other end why.
                let _ = self.flush().await;
                return Err(io::Error::other(error));
            }
            if got == 0 && session.is_handshaking() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.flush().await
    }
}

/// Why HTTPS cannot be had, where it cannot.
pub fn missing() -> Error {
    Error::failed("speak HTTPS", "this gatemeter was built without TLS")
}

/// What is needed to talk to a box, and no more: rustls's own provider brings 100 kB of other primitives. AES-GCM and the
/// two curves are what every TLS 1.3 server and every box with TLS 1.2 has.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ],
        kx_groups: vec![kx_group::SECP256R1, kx_group::SECP384R1],
        signature_verification_algorithms: ALGORITHMS,
        secure_random: &Random,
        key_provider: &NoKeys,
    }
}

/// In the order in which they are offered.
static ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        signatures::ECDSA_P256_SHA256,
        signatures::ECDSA_P256_SHA384,
        signatures::ECDSA_P384_SHA256,
        signatures::ECDSA_P384_SHA384,
        signatures::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        signatures::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        signatures::RSA_PKCS1_2048_8192_SHA256,
        signatures::RSA_PKCS1_2048_8192_SHA384,
    ],
    mapping: &[
        (SignatureScheme::ECDSA_NISTP384_SHA384, &[signatures::ECDSA_P384_SHA384, signatures::ECDSA_P256_SHA384]),
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[signatures::ECDSA_P256_SHA256, signatures::ECDSA_P384_SHA256]),
        (SignatureScheme::RSA_PSS_SHA384, &[signatures::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA256, &[signatures::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[signatures::RSA_PKCS1_2048_8192_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[signatures::RSA_PKCS1_2048_8192_SHA256]),
    ],
};

/// The system's random source.
#[derive(Debug)]
struct Random;

impl SecureRandom for Random {
    fn fill(&self, buf: &mut [u8]) -> Result<(), GetRandomFailed> {
        use ::ring::rand::{SecureRandom as _, SystemRandom};
        SystemRandom::new().fill(buf).map_err(|_| GetRandomFailed)
    }
}

/// We have no certificate of our own.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("there are no keys".into()))
    }
}

/// Takes any certificate, as long as its owner has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_of_the_operators_are_certificates() {
        let mut roots = RootCertStore::empty();
        for root in ROOTS {
            roots.add(CertificateDer::from(root)).unwrap();
        }
        assert_eq!(roots.len(), 4);
        assert!(Trust::new(None, true).is_ok());
    }
}
