//! Certificates for approved requests (`pkg/controller/certificates/signer/signer.go`), for those signers whose
//! certificates are for clients of the API server.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use super::Controllers;
use super::token::file;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::cluster::object::now;
use crate::node::embedded::root::pki::Authority;

/// Longest life of a certificate (`--cluster-signing-duration`).
const LONGEST: i64 = 365 * 24 * 3600;
/// Shortest life, whatever is asked for.
const SHORTEST: i64 = 600;

pub(super) async fn sync(c: &mut Controllers, name: &str) -> Option<Duration> {
    let key = format!("/registry/certificates.k8s.io/certificatesigningrequests/{name}");
    let mut request = c.cached(&key)?;
    let says = |kind: &str| {
        items(&request, "/status/conditions")
            .iter()
            .any(|one| text_at(one, "/type") == kind && text_at(one, "/status") == "True")
    };
    let signed = !text_at(&request, "/status/certificate").is_empty();
    if signed || !says("Approved") || says("Denied") || says("Failed") {
        return None;
    }
    let signer = text_at(&request, "/spec/signerName");
    let known = [
        "kubernetes.io/kube-apiserver-client",
        "kubernetes.io/kube-apiserver-client-kubelet",
        "kubernetes.io/legacy-unknown",
    ];
    if !known.contains(&signer) {
        return None;
    }
    let usages = items(&request, "/spec/usages");
    let wrong = wrong_usage(usages).filter(|_| signer != "kubernetes.io/legacy-unknown");
    let (field, value) = match wrong {
        Some(message) => {
            let mut conditions = items(&request, "/status/conditions").to_vec();
            conditions.push(json!({"type": "Failed", "status": "True",
                "reason": "SignerValidationFailure", "message": message, "lastUpdateTime": now()}));
            ("conditions", Value::from(conditions))
        }
        None => ("certificate", certificate(c, &request)?.into()),
    };
    let status = request.get_mut("status").and_then(Value::as_object_mut)?;
    status.insert(field.to_owned(), value);
    let actor = c.actor("certificate-controller").await;
    let path = format!("/apis/certificates.k8s.io/v1/certificatesigningrequests/{name}/status");
    let answer = actor.update(&path, request).await;
    let again = answer.is_none_or(|(code, _)| code == 409 || code >= 500);
    again.then(|| Duration::from_secs(1))
}

/// What is wrong with the usages of a client's certificate (`validAPIServerClientUsages`).
fn wrong_usage(usages: &[Value]) -> Option<String> {
    let texts: Vec<&str> = usages.iter().filter_map(Value::as_str).collect();
    let allowed = ["digital signature", "key encipherment", "client auth"];
    if let Some(other) = texts.iter().find(|usage| !allowed.contains(usage)) {
        return Some(format!("invalid usage for client certificate: {other}"));
    }
    let missing = !texts.contains(&"client auth");
    missing.then(|| "missing required usage for client certificate: client auth".to_owned())
}

/// The certificate, as the object has it: PEM in base64.
fn certificate(c: &Controllers, request: &Value) -> Option<String> {
    let pem = STANDARD.decode(text_at(request, "/spec/request")).ok()?;
    let (_, block) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
    let (_, asked) = X509CertificationRequest::from_der(&block.contents).ok()?;
    let info = &asked.certification_request_info;
    let texts =
        |attributes: &mut dyn Iterator<Item = &x509_parser::x509::AttributeTypeAndValue<'_>>| {
            let texts: Vec<String> = attributes
                .filter_map(|attribute| attribute.as_str().ok().map(str::to_owned))
                .collect();
            texts
        };
    let user = texts(&mut info.subject.iter_common_name());
    let groups = texts(&mut info.subject.iter_organization());
    let asked = request.pointer("/spec/expirationSeconds");
    let seconds = asked.and_then(Value::as_i64).unwrap_or(LONGEST);
    let file = |path: &str| String::from_utf8(file(c, path)?).ok();
    let authority = Authority::from_pem(
        &file("/etc/kubernetes/pki/ca.crt")?,
        &file("/etc/kubernetes/pki/ca.key")?,
    )
    .ok()?;
    let signed = authority.certify(
        user.first().map_or("", String::as_str),
        &groups,
        info.subject_pki.raw,
        time::Duration::seconds(seconds.clamp(SHORTEST, LONGEST)),
    );
    Some(STANDARD.encode(signed.ok()?))
}
