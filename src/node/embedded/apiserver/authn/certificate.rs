//! Client certificates (`authentication/request/x509`) and the front proxy
//! (`authentication/request/headerrequest`).

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::recent::Recent;
use crate::node::embedded::apiserver::request::UserInfo;

/// A bundle of certificate authorities for clients.
#[derive(Clone)]
pub struct ClientCa {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Subjects of the authorities, as hints for clients.
    pub subjects: Vec<rustls::DistinguishedName>,
    /// Users of chains that were good a moment ago: a client sends one request after the other.
    recent: Arc<Recent<UserInfo>>,
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadBundle(pub String);

impl ClientCa {
    /// Reads a PEM bundle.
    ///
    /// # Errors
    /// When there is no usable certificate in it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BadBundle> {
        let none =
            || BadBundle("data does not contain any valid RSA or ECDSA certificates".to_owned());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| none())?;
            roots.add(certificate).map_err(|_| none())?;
        }
        if roots.is_empty() {
            return Err(none());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let subjects = roots.subjects();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| BadBundle(error.to_string()))?;
        Ok(Self {
            verifier,
            subjects,
            recent: Arc::default(),
        })
    }

    /// Verifies a chain; the text is for the log.
    fn verify(&self, certificates: &[Arc<[u8]>]) -> Result<(), String> {
        let chain: Vec<CertificateDer<'_>> = certificates
            .iter()
            .map(|der| CertificateDer::from(&**der))
            .collect();
        let Some((own, intermediates)) = chain.split_first() else {
            return Err("no certificate".to_owned());
        };
        self.verifier
            .verify_client_cert(own, intermediates, UnixTime::now())
            .map(|_| ())
            .map_err(|error| {
                let reason = match error {
                    rustls::Error::InvalidCertificate(
                        rustls::CertificateError::Expired
                        | rustls::CertificateError::ExpiredContext { .. }
                        | rustls::CertificateError::NotValidYet
                        | rustls::CertificateError::NotValidYetContext { .. },
                    ) => "x509: certificate has expired or is not yet valid".to_owned(),
                    rustls::Error::InvalidCertificate(
                        rustls::CertificateError::UnknownIssuer
                        | rustls::CertificateError::BadSignature,
                    ) => "x509: certificate signed by unknown authority".to_owned(),
                    other => other.to_string(),
                };
                format!("verifying certificate failed: {reason}")
            })
    }

    /// The user of a client certificate; `None` without one.
    ///
    /// # Errors
    /// When the certificate is not trusted.
    pub fn authenticate(&self, certificates: &[Arc<[u8]>]) -> Result<Option<UserInfo>, String> {
        let Some(own) = certificates.first() else {
            return Ok(None);
        };
        let key = Recent::<UserInfo>::key(certificates.iter().map(AsRef::as_ref));
        if let Some(user) = self.recent.get(&key) {
            return Ok(Some(user));
        }
        self.verify(certificates)?;
        let (name, groups) = subject(own)?;
        if name.is_empty() {
            return Ok(None);
        }
        let mut extra = BTreeMap::new();
        extra.insert(
            "authentication.kubernetes.io/credential-id".to_owned(),
            vec![credential_id(own)],
        );
        let user = UserInfo {
            username: name,
            uid: String::new(),
            groups,
            extra,
        };
        self.recent.put(key, user.clone());
        Ok(Some(user))
    }
}

/// `X509SHA256=` and the digest of a certificate.
#[must_use]
pub fn credential_id(der: &[u8]) -> String {
    let mut out = String::from("X509SHA256=");
    for byte in Sha256::digest(der) {
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

/// Common name and organisations.
fn subject(der: &[u8]) -> Result<(String, Vec<String>), String> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| format!("x509: {error}"))?;
    let subject = certificate.subject();
    let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        attribute.as_str().map(str::to_owned).unwrap_or_default()
    };
    let name = subject
        .iter_common_name()
        .last()
        .map(text)
        .unwrap_or_default();
    let groups = subject.iter_organization().map(text).collect();
    Ok((name, groups))
}

/// A trusted front proxy.
pub struct RequestHeader {
    /// Its authorities.
    pub ca: ClientCa,
    /// Common names allowed; empty allows all.
    pub allowed_names: Vec<String>,
    /// Headers that carry the user.
    pub username_headers: Vec<String>,
    /// Headers that carry the UID.
    pub uid_headers: Vec<String>,
    /// Headers that carry groups.
    pub group_headers: Vec<String>,
    /// Prefixes of headers that carry extra values.
    pub extra_prefixes: Vec<String>,
}

impl RequestHeader {
    /// The user a front proxy names; `None` when the client is not the proxy or names none.
    ///
    /// # Errors
    /// When the certificate is of the proxy's authority but of a name that is not allowed.
    pub fn authenticate(
        &self,
        certificates: &[Arc<[u8]>],
        headers: &http::HeaderMap,
    ) -> Result<Option<UserInfo>, String> {
        let Some(own) = certificates.first() else {
            return Ok(None);
        };
        self.ca.verify(certificates)?;
        let (name, _) = subject(own)?;
        if !self.allowed_names.is_empty() && !self.allowed_names.contains(&name) {
            return Err(format!(
                "x509: subject with cn={name} is not in the allowed list"
            ));
        }
        let first = |names: &[String]| {
            names
                .iter()
                .find_map(|name| headers.get(name.as_str())?.to_str().ok())
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let Some(username) = first(&self.username_headers) else {
            return Ok(None);
        };
        let groups = self
            .group_headers
            .iter()
            .flat_map(|name| headers.get_all(name.as_str()))
            .filter_map(|value| value.to_str().ok())
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .collect();
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for prefix in &self.extra_prefixes {
            let prefix = prefix.to_ascii_lowercase();
            for (name, value) in headers {
                if let Some(key) = name.as_str().strip_prefix(prefix.as_str())
                    && let Ok(value) = value.to_str()
                {
                    let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
                    extra.entry(key).or_default().push(value.to_owned());
                }
            }
        }
        Ok(Some(UserInfo {
            username,
            uid: first(&self.uid_headers).unwrap_or_default(),
            groups,
            extra,
        }))
    }
}
