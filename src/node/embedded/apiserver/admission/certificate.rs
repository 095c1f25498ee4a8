//! CertificateSubjectRestriction, the signing requests of kubelets, approval and signing rights
//! (`plugin/pkg/admission/certificates`, `noderestriction`).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::prelude::FromDer as _;

use super::{Attributes, Operation};
use crate::node::embedded::apiserver::authz;
use crate::node::embedded::apiserver::kinds::edit::text_at;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

/// Common name and organisations of a request.
fn subject(object: &Value) -> Option<(String, Vec<String>)> {
    let pem = STANDARD.decode(text_at(object, "/spec/request")).ok()?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
    let (_, request) =
        x509_parser::certification_request::X509CertificationRequest::from_der(&pem.contents)
            .ok()?;
    let subject = &request.certification_request_info.subject;
    let name = subject
        .iter_common_name()
        .find_map(|name| name.as_str().ok())
        .unwrap_or_default()
        .to_owned();
    let groups = subject
        .iter_organization()
        .filter_map(|group| group.as_str().ok())
        .map(str::to_owned)
        .collect();
    Some((name, groups))
}

/// Refuses requests that ask for more than they may, and approvals by those who may not.
///
/// # Errors
/// 403.
pub fn admit(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    object: &Value,
) -> Result<(), Status> {
    if attributes.resource.group != "certificates.k8s.io"
        || attributes.resource.name != "certificatesigningrequests"
    {
        return Ok(());
    }
    let signer = text_at(object, "/spec/signerName");
    match (attributes.operation, attributes.subresource) {
        (Operation::Create, "") => {
            let Some((name, groups)) = subject(object) else {
                return Ok(());
            };
            if signer == "kubernetes.io/kube-apiserver-client"
                && groups.iter().any(|group| group == "system:masters")
            {
                return Err(attributes.forbidden(
                    object,
                    format!("use of {signer} signer with system:masters group is not allowed"),
                ));
            }
            let node = attributes.user.username.strip_prefix("system:node:");
            let for_kubelets = matches!(
                signer,
                "kubernetes.io/kubelet-serving" | "kubernetes.io/kube-apiserver-client-kubelet"
            );
            if let Some(node) = node
                && for_kubelets
                && name != format!("system:node:{node}")
            {
                return Err(attributes.forbidden(
                    object,
                    format!("can only create a node CSR with CN=system:node:{node}"),
                ));
            }
            Ok(())
        }
        (Operation::Update, "approval") => {
            signer_right(state, attributes, object, signer, "approve")
        }
        (Operation::Update, "status") => signer_right(state, attributes, object, signer, "sign"),
        _ => Ok(()),
    }
}

fn signer_right(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    object: &Value,
    signer: &str,
    verb: &str,
) -> Result<(), Status> {
    let domain = signer.split('/').next().unwrap_or(signer);
    let allowed = [signer.to_owned(), format!("{domain}/*")]
        .into_iter()
        .any(|name| {
            let request = authz::Attributes {
                verb: verb.to_owned(),
                group: "certificates.k8s.io".to_owned(),
                version: "*".to_owned(),
                resource: "signers".to_owned(),
                name,
                is_resource: true,
                ..Default::default()
            };
            authz::authorize(state, attributes.user, &request).allowed
        });
    if allowed {
        return Ok(());
    }
    Err(attributes.forbidden(
        object,
        format!("user not permitted to {verb} requests with signerName \"{signer}\""),
    ))
}
