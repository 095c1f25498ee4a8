//! Credentials: client certificates signed with the cluster's CA, and how the API server is reached.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::record::Place;
use super::session::Session;
use super::tunnel;
use crate::node::embedded::root::pki::Authority;
use crate::node::{Identity, NodeError};

/// A client configuration for the cluster.
///
/// # Errors
/// When the kept CA or kubeconfig cannot be read.
pub fn config(
    place: &Place,
    session: &Session,
    identity: &Identity,
) -> Result<kube::Config, NodeError> {
    let refused = |what: &str| {
        let what = what.to_owned();
        move |error: &dyn std::fmt::Display| NodeError::Refused(format!("{what}: {error}"))
    };
    let server = server(place).map_err(|error| refused("the lab's kubeconfig")(&error))?;
    let server = tunnel::way(&server, session.program(), session.container());
    let url = server
        .parse()
        .map_err(|_| NodeError::Refused(format!("`{server}` is no address of a server")))?;
    let read = |name: &str| {
        fs::read_to_string(place.file(name))
            .map_err(|error| refused("cannot read the cluster's CA")(&error))
    };
    let ca = read("ca.crt")?;
    let mut config = kube::Config::new(url);
    let der: Vec<Vec<u8>> = rustls_pki_types::pem::PemObject::pem_slice_iter(ca.as_bytes())
        .flatten()
        .map(|certificate: rustls_pki_types::CertificateDer<'_>| certificate.to_vec())
        .collect();
    config.root_cert = Some(der);
    config.default_retry = false;
    let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let (user, groups): (&str, Vec<String>) = match identity {
        Identity::Admin => ("kubernetes-admin", groups(&["kubeadm:cluster-admins"])),
        Identity::SuperAdmin => ("kubernetes-super-admin", groups(&["system:masters"])),
        Identity::User { name, groups } => (name, groups.clone()),
        Identity::Anonymous => return Ok(config),
    };
    let client = Authority::from_pem(&ca, &read("ca.key")?)
        .and_then(|ca| ca.client(user, &groups))
        .map_err(|error| NodeError::Refused(error.to_string()))?;
    config.auth_info.client_certificate_data = Some(STANDARD.encode(client.certificate));
    config.auth_info.client_key_data = Some(STANDARD.encode(client.key).into());
    Ok(config)
}

/// The address of the API server that the kubeconfig names.
///
/// # Errors
/// When there is no kubeconfig, or none in it.
pub fn server(place: &Place) -> std::io::Result<String> {
    let text = fs::read_to_string(place.kubeconfig())?;
    let value: serde_json::Value = serde_yaml::from_str(&text).map_err(std::io::Error::other)?;
    value
        .pointer("/clusters/0/cluster/server")
        .and_then(serde_json::Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| std::io::Error::other("it names no server"))
}
