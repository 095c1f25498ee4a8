//! The server's certificate, checked as Go's `crypto/x509` does, in its words.

use std::net::IpAddr;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::audit::options::number::quote;

/// Longest chain that is tried.
const DEPTH: usize = 8;

/// Checks a chain, the server's own certificate first, for a host.
///
/// # Errors
/// Go's text, `x509: …`.
pub(super) fn verify(
    chain: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
    host: &str,
    now: jiff::Timestamp,
) -> Result<(), String> {
    let malformed = || "x509: malformed certificate".to_owned();
    let (own, rest) = chain.split_first().ok_or_else(malformed)?;
    let (_, own_certificate) = X509Certificate::from_der(own).map_err(|_| malformed())?;
    in_time(&own_certificate, now)?;
    named(&own_certificate, host)?;
    if !roots.contains(own) {
        let mut search = Search {
            roots: certificates(roots),
            intermediates: certificates(rest),
            now,
            hint: None,
        };
        if !search.leads_to_root(&own_certificate, DEPTH) {
            let hint = search.hint.map_or_else(String::new, |(reason, name)| {
                format!(
                    " (possibly because of {} while trying to verify candidate authority certificate {})",
                    quote(&reason),
                    quote(&name)
                )
            });
            return Err(format!(
                "x509: certificate signed by unknown authority{hint}"
            ));
        }
    }
    if for_servers(&own_certificate) {
        Ok(())
    } else {
        Err("x509: certificate specifies an incompatible key usage".to_owned())
    }
}

fn certificates<'a>(der: &'a [CertificateDer<'_>]) -> Vec<X509Certificate<'a>> {
    der.iter()
        .filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, c)| c))
        .collect()
}

struct Search<'a> {
    roots: Vec<X509Certificate<'a>>,
    intermediates: Vec<X509Certificate<'a>>,
    now: jiff::Timestamp,
    /// Why the first candidate was not taken, and its name.
    hint: Option<(String, String)>,
}

impl Search<'_> {
    fn leads_to_root(&mut self, certificate: &X509Certificate<'_>, depth: usize) -> bool {
        let issuer = certificate.issuer().as_raw();
        for root in 0..self.roots.len() {
            if self.takes(root, true, certificate, issuer) {
                return true;
            }
        }
        if depth == 0 {
            return false;
        }
        for at in 0..self.intermediates.len() {
            if self.takes(at, false, certificate, issuer)
                && let Some(next) = self.intermediates.get(at).cloned()
                && next.subject().as_raw() != certificate.subject().as_raw()
                && self.leads_to_root(&next, depth - 1)
            {
                return true;
            }
        }
        false
    }

    fn takes(
        &mut self,
        at: usize,
        root: bool,
        certificate: &X509Certificate<'_>,
        issuer: &[u8],
    ) -> bool {
        let list = if root {
            &self.roots
        } else {
            &self.intermediates
        };
        let Some(candidate) = list.get(at) else {
            return false;
        };
        if candidate.subject().as_raw() != issuer {
            return false;
        }
        let answer = signed_by(certificate, candidate)
            .and_then(|()| in_time(candidate, self.now))
            .and_then(|()| authority(candidate));
        match answer {
            Ok(()) => true,
            Err(reason) => {
                let name = common_name(candidate);
                self.hint.get_or_insert((reason, name));
                false
            }
        }
    }
}

fn common_name(certificate: &X509Certificate<'_>) -> String {
    certificate
        .subject()
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .or_else(|| {
            certificate
                .subject()
                .iter_organization()
                .next()
                .and_then(|name| name.as_str().ok())
        })
        .map_or_else(
            || format!("serial:{}", certificate.tbs_certificate.serial),
            str::to_owned,
        )
}

fn signed_by(
    certificate: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
) -> Result<(), String> {
    authority(issuer)?;
    if certificate
        .verify_signature(Some(issuer.public_key()))
        .is_ok()
    {
        return Ok(());
    }
    let algorithm = issuer.public_key().algorithm.algorithm.to_id_string();
    Err(match algorithm.as_str() {
        "1.2.840.113549.1.1.1" => "crypto/rsa: verification error",
        "1.2.840.10045.2.1" => "x509: ECDSA verification failure",
        "1.3.101.112" => "x509: Ed25519 verification failure",
        _ => "x509: cannot verify signature: algorithm unimplemented",
    }
    .to_owned())
}

/// Whether a certificate may sign others: one of version 3 says so.
fn authority(certificate: &X509Certificate<'_>) -> Result<(), String> {
    let declared = certificate
        .basic_constraints()
        .ok()
        .flatten()
        .is_some_and(|constraints| constraints.value.ca);
    if declared || certificate.version().0 < 2 {
        Ok(())
    } else {
        Err(
            "x509: invalid signature: parent certificate cannot sign this kind of certificate"
                .to_owned(),
        )
    }
}

fn in_time(certificate: &X509Certificate<'_>, now: jiff::Timestamp) -> Result<(), String> {
    let validity = certificate.validity();
    let shown = |time: &ASN1Time| {
        jiff::Timestamp::from_second(time.timestamp())
            .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
            .unwrap_or_default()
    };
    let seconds = now.as_second();
    let detail = if seconds < validity.not_before.timestamp() {
        format!("is before {}", shown(&validity.not_before))
    } else if seconds > validity.not_after.timestamp() {
        format!("is after {}", shown(&validity.not_after))
    } else {
        return Ok(());
    };
    Err(format!(
        "x509: certificate has expired or is not yet valid: current time {} {detail}",
        now.strftime("%Y-%m-%dT%H:%M:%SZ")
    ))
}

/// `Certificate.VerifyHostname`.
fn named(certificate: &X509Certificate<'_>, host: &str) -> Result<(), String> {
    let mut names: Vec<String> = Vec::new();
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut listed = false;
    for extension in certificate.extensions() {
        let ParsedExtension::SubjectAlternativeName(alternatives) = extension.parsed_extension()
        else {
            continue;
        };
        listed = true;
        for name in &alternatives.general_names {
            match name {
                GeneralName::DNSName(name) => names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => {
                    if let Ok(four) = <[u8; 4]>::try_from(*bytes) {
                        addresses.push(four.into());
                    } else if let Ok(sixteen) = <[u8; 16]>::try_from(*bytes) {
                        addresses.push(sixteen.into());
                    }
                }
                _ => {}
            }
        }
    }
    let wanted: Option<IpAddr> = host.parse().ok();
    let matched = match wanted {
        Some(address) => addresses.contains(&address),
        None => names.iter().any(|name| matches_name(name, host)),
    };
    if matched {
        return Ok(());
    }
    if !listed && wanted.is_none() && matches_name(&common_name(certificate), host) {
        return Err(
            "x509: certificate relies on legacy Common Name field, use SANs instead".to_owned(),
        );
    }
    let valid = if wanted.is_some() {
        if addresses.is_empty() {
            return Err(format!(
                "x509: cannot validate certificate for {host} because it doesn't contain any IP SANs"
            ));
        }
        let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        addresses.join(", ")
    } else {
        names.join(", ")
    };
    Err(if valid.is_empty() {
        format!("x509: certificate is not valid for any names, but wanted to match {host}")
    } else {
        format!("x509: certificate is valid for {valid}, not {host}")
    })
}

/// A pattern may have a star for its first label.
fn matches_name(pattern: &str, host: &str) -> bool {
    let lower = |text: &str| text.trim_end_matches('.').to_ascii_lowercase();
    let (pattern, host) = (lower(pattern), lower(host));
    if pattern.is_empty() || host.is_empty() {
        return false;
    }
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(rest), Some((_, tail))) => rest == tail,
        _ => pattern == host,
    }
}

fn for_servers(certificate: &X509Certificate<'_>) -> bool {
    match certificate.extended_key_usage() {
        Ok(Some(usage)) => usage.value.any || usage.value.server_auth,
        _ => true,
    }
}
