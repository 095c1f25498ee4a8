//! Certificates with their keys, as `tls.X509KeyPair` of Go takes them
//! (`k8s.io/apiserver/pkg/server/dynamiccertificates/dynamic_serving_content.go`).

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::startup::read;
use crate::node::embedded::runtime::rootfs::Rootfs;

/// A certificate with those of its authorities, and its key.
pub type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Reads a certificate and its key; `purpose` names them in messages.
///
/// # Errors
/// Go's text.
pub fn load(
    rootfs: &Rootfs,
    purpose: &str,
    cert_file: &str,
    key_file: &str,
) -> Result<Pair, String> {
    if cert_file.is_empty() || key_file.is_empty() {
        return Err("missing filename for serving cert".to_owned());
    }
    let cert = read(rootfs, cert_file)?;
    let key = read(rootfs, key_file)?;
    if cert.is_empty() || key.is_empty() {
        return Err(format!(
            "missing content for serving cert \"{purpose}::{cert_file}::{key_file}\""
        ));
    }
    pair(&cert, &key)
}

/// `tls.X509KeyPair`.
///
/// # Errors
/// Go's text.
pub fn pair(cert: &[u8], key: &[u8]) -> Result<Pair, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert)
        .filter_map(Result::ok)
        .collect();
    let Some(leaf) = chain.first() else {
        return Err(no_certificate(&labels(cert)));
    };
    let Ok(key) = PrivateKeyDer::from_pem_slice(key) else {
        return Err(no_key(&labels(key)));
    };
    let parsed = x509_parser::parse_x509_certificate(leaf.as_ref())
        .map_err(|_| "x509: malformed certificate".to_owned())?
        .1;
    let signing = rustls::crypto::ring::sign::any_supported_type(&key)
        .map_err(|_| "tls: failed to parse private key".to_owned())?;
    if let Some(public) = signing.public_key()
        && public.as_ref() != parsed.public_key().raw
    {
        let rsa = |text: &str| text == "1.2.840.113549.1.1.1";
        let certified = parsed.public_key().algorithm.algorithm.to_id_string();
        let is_rsa = signing.algorithm() == rustls::SignatureAlgorithm::RSA;
        return Err(if rsa(&certified) == is_rsa {
            "tls: private key does not match public key".to_owned()
        } else {
            "tls: private key type does not match public key type".to_owned()
        });
    }
    Ok((chain, key))
}

/// The labels of the PEM blocks.
fn labels(pem: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(pem)
        .lines()
        .filter_map(|line| {
            let label = line.trim().strip_prefix("-----BEGIN ")?;
            Some(label.strip_suffix("-----")?.to_owned())
        })
        .collect()
}

fn no_certificate(labels: &[String]) -> String {
    match labels {
        [] => "tls: failed to find any PEM data in certificate input".to_owned(),
        [one] if one.ends_with("PRIVATE KEY") => "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".to_owned(),
        all if all.iter().any(|label| label == "CERTIFICATE") => "x509: malformed certificate".to_owned(),
        all => format!(
            "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]",
            all.join(" ")
        ),
    }
}

fn no_key(labels: &[String]) -> String {
    match labels {
        [] => "tls: failed to find any PEM data in key input".to_owned(),
        [one] if one == "CERTIFICATE" => {
            "tls: found a certificate rather than a key in the PEM for the private key".to_owned()
        }
        all if all.iter().any(|label| label.ends_with("PRIVATE KEY")) => {
            "tls: failed to parse private key".to_owned()
        }
        all => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
            all.join(" ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn pairs_are_refused_in_the_words_of_go() {
        let ((cert, key), (_, other)) = (made(), made());
        let text = |cert: &str, key: &str| pair(cert.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(pair(cert.as_bytes(), key.as_bytes()).is_ok());
        assert_eq!(
            text("x", &key),
            "tls: failed to find any PEM data in certificate input"
        );
        assert_eq!(
            text(&key, &cert),
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched"
        );
        assert_eq!(
            text(&cert, &cert),
            "tls: found a certificate rather than a key in the PEM for the private key"
        );
        assert_eq!(
            text(&cert, "x"),
            "tls: failed to find any PEM data in key input"
        );
        assert_eq!(
            text(&cert, &other),
            "tls: private key does not match public key"
        );
    }
}
