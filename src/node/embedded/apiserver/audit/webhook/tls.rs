//! TLS towards the webhook (`transport.TLSConfigFor`, `crypto/tls`).

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, OtherError,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::kubeconfig::{ClientCertificate, Tls};
use super::verify::verify;

/// Certificates of authorities in PEM.
///
/// # Errors
/// client-go's text.
pub(super) fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .filter(|der| x509_parser::parse_x509_certificate(der).is_ok())
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let broken = CertificateDer::pem_slice_iter(pem).any(|der| der.is_ok());
    Err(if broken {
        "failed to parse certificate: x509: malformed certificate".to_owned()
    } else {
        "unable to parse bytes as PEM block".to_owned()
    })
}

/// A certificate and its key.
///
/// # Errors
/// Go's text.
pub(super) fn pair(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .filter_map(Result::ok)
        .collect();
    if chain.is_empty() {
        return Err("tls: failed to find any PEM data in certificate input".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "tls: failed to find any PEM data in key input".to_owned())?;
    let signer = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|_| "tls: failed to parse private key".to_owned())?;
    let pair = CertifiedKey::new(chain, signer);
    match pair.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err("tls: private key does not match public key".to_owned())
        }
        _ => Ok(pair),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The options of one connection, and what happened to its client certificate.
pub(super) struct Session {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
    own: Arc<Own>,
}

/// The client's certificate, should it be asked for.
#[derive(Debug)]
struct Own {
    pair: Option<Result<Arc<CertifiedKey>, String>>,
    asked: AtomicBool,
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.pair.as_ref()?.as_ref().ok().cloned()
    }

    fn has_certs(&self) -> bool {
        self.pair.is_some()
    }
}

impl Session {
    /// For a connection to this host. `read` reads files of certificates.
    pub(super) fn new(
        tls: &Tls,
        host: &str,
        read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Self, String> {
        let pair = match &tls.client {
            ClientCertificate::None => None,
            ClientCertificate::Data(certificate, key) => Some(pair(certificate, key)),
            ClientCertificate::Files(certificate, key) => {
                let both = read(certificate).and_then(|c| Ok((c, read(key)?)));
                Some(both.and_then(|(certificate, key)| self::pair(&certificate, &key)))
            }
        };
        let own = Arc::new(Own {
            pair: pair.map(|pair| pair.map(Arc::new)),
            asked: AtomicBool::new(false),
        });
        let host = if tls.server_name.is_empty() {
            host
        } else {
            &tls.server_name
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            "tls: either ServerName or InsecureSkipVerify must be specified in the tls.Config"
                .to_owned()
        })?;
        let roots = match &tls.authorities {
            Some(pem) => authorities(pem)?,
            // The image has none that a node without a network could meet.
            None => Vec::new(),
        };
        let provider = provider();
        let checker = Checker {
            host: host.to_owned(),
            roots,
            insecure: tls.insecure,
            provider: provider.clone(),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(checker))
            .with_client_cert_resolver(own.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            name,
            own,
        })
    }

    /// Why there is no client certificate although the server asked for one.
    pub(super) fn own_error(&self) -> Option<String> {
        if !self.own.asked.load(Ordering::Relaxed) {
            return None;
        }
        self.own.pair.as_ref()?.as_ref().err().cloned()
    }
}

/// Checks servers as Go does.
#[derive(Debug)]
struct Checker {
    host: String,
    roots: Vec<CertificateDer<'static>>,
    insecure: bool,
    provider: Arc<CryptoProvider>,
}

/// A text of `crypto/x509`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Untrusted(String);

impl ServerCertVerifier for Checker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.insecure {
            return Ok(ServerCertVerified::assertion());
        }
        let mut chain = vec![end_entity.clone()];
        chain.extend(intermediates.iter().cloned());
        verify(&chain, &self.roots, &self.host, jiff::Timestamp::now())
            .map(|()| ServerCertVerified::assertion())
            .map_err(|reason| {
                let error = OtherError(Arc::new(Untrusted(reason)));
                rustls::Error::InvalidCertificate(CertificateError::Other(error))
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The first bytes that came over a connection, for errors that show them.
pub(super) type FirstBytes = Arc<Mutex<Vec<u8>>>;

/// An error of a handshake or of a TLS connection in Go's words.
pub(super) fn error_text(error: &io::Error, first: &FirstBytes) -> Option<String> {
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match tls {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) => {
            format!("tls: failed to verify certificate: {reason}")
        }
        rustls::Error::AlertReceived(alert) => {
            format!("remote error: tls: {}", alert_text(*alert))
        }
        rustls::Error::InvalidMessage(_) => {
            let first = first.lock().unwrap_or_else(PoisonError::into_inner);
            if first.starts_with(b"HTTP/") {
                "http: server gave HTTP response to HTTPS client".to_owned()
            } else {
                "tls: first record does not look like a TLS handshake".to_owned()
            }
        }
        rustls::Error::PeerIncompatible(_) => {
            "tls: server selected unsupported protocol version".to_owned()
        }
        rustls::Error::NoApplicationProtocol => "remote error: tls: no application protocol".into(),
        other => format!("tls: {other}"),
    })
}

/// `crypto/tls/alert.go`.
pub(in crate::node::embedded::apiserver) fn alert_text(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CloseNotify => "close notify",
        AlertDescription::UnexpectedMessage => "unexpected message",
        AlertDescription::BadRecordMac => "bad record MAC",
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnsupportedCertificate => "unsupported certificate",
        AlertDescription::CertificateRevoked => "revoked certificate",
        AlertDescription::CertificateExpired => "expired certificate",
        AlertDescription::CertificateUnknown => "unknown certificate",
        AlertDescription::IllegalParameter => "illegal parameter",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::DecodeError => "error decoding message",
        AlertDescription::DecryptError => "error decrypting message",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::InsufficientSecurity => "insufficient security level",
        AlertDescription::InternalError => "internal error",
        AlertDescription::UnrecognisedName => "unrecognized name",
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::NoApplicationProtocol => "no application protocol",
        other => return format!("alert({})", u8::from(other)),
    }
    .to_owned()
}
