//! Start-up of the server: files read, keys and policy loaded, port bound, in the order (and with the
//! errors) of a real one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;

use super::audit::setup;
use super::authn::certificate::{ClientCa, RequestHeader};
use super::authn::tokens::Tokens;
use super::authn::{Authn, TokenCache};
use super::flags::Flags;
use super::http as https;
use super::klog::Klog;
use super::server::Server;
use super::state::ApiState;
use crate::node::embedded::machine::Machine;
use crate::node::embedded::process::go_error_text;
use crate::node::embedded::runtime::rootfs::Rootfs;

/// Largest file that start-up reads.
pub(super) const FILE_LIMIT: u64 = 16 << 20;
/// The port a node's clients use.
const NODE_PORT: i64 = 6443;

/// Reads a file as the process sees it.
pub(super) fn read(rootfs: &Rootfs, path: &str) -> Result<Vec<u8>, String> {
    rootfs.read(&absolute(path), FILE_LIMIT).map_err(|error| {
        let verb = if error.kind() == std::io::ErrorKind::IsADirectory {
            "read"
        } else {
            "open"
        };
        format!("{verb} {path}: {}", go_error_text(&error))
    })
}

pub(super) fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

/// Reads the signing key of service-account tokens, which completion of the options does.
///
/// # Errors
/// The real text.
pub fn signing_key(flags: &Flags, rootfs: &Rootfs) -> Result<Option<Vec<u8>>, String> {
    let path = flags.line.text("service-account-signing-key-file");
    if path.is_empty() || flags.issuers().first().is_none_or(String::is_empty) {
        return Ok(None);
    }
    let failed =
        |reason: String| format!("failed to parse service-account-issuer-key-file: {reason}");
    let pem = read(rootfs, &path).map_err(failed)?;
    Tokens::new(Vec::new(), Vec::new(), Some(&pem), &[], false)
        .map_err(|reason| failed(format!("error reading private key file {path}: {reason}")))?;
    Ok(Some(pem))
}

/// Builds the server.
///
/// # Errors
/// The text of the first thing that fails.
pub async fn build(
    machine: Arc<Machine>,
    flags: Flags,
    klog: Klog,
    rootfs: Arc<Rootfs>,
    signing_key: Option<Vec<u8>>,
) -> Result<Server, String> {
    let bind_address: IpAddr = flags
        .line
        .text("bind-address")
        .parse()
        .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let listener = bind(&machine, &flags, bind_address).await?;
    let (chain, key) = serving_certificate(&flags, &rootfs)?;
    let authn = authenticators(&flags, &rootfs)?;
    let tokens = tokens(&flags, &rootfs, signing_key.as_deref())?;
    if flags
        .authorization_modes()
        .iter()
        .any(|mode| mode == "Node")
    {
        klog.info(
            0,
            "shared_informer.go:381",
            "\"Waiting for caches to sync\" controller=\"node_authorizer\"",
        );
    }
    let audit = setup::audit(&flags.audit, &machine, &rootfs, &klog)?;
    after_audit(&flags, &rootfs)?;
    let mut subjects = Vec::new();
    for ca in authn
        .client_ca
        .iter()
        .chain(authn.request_header.iter().map(|proxy| &proxy.ca))
    {
        subjects.extend(ca.subjects.iter().cloned());
    }
    let http2 = !flags.line.bool("disable-http2-serving");
    let tls = https::tls_config(chain, key, subjects, http2)
        .map_err(|_| "tls: private key does not match public key".to_owned())?;
    let state = Arc::new(ApiState {
        tokens,
        authn,
        audit: Arc::new(audit),
        ..ApiState::new(machine, flags, klog)
    });
    Ok(Server {
        state,
        listener,
        tls,
        bind_address,
    })
}

/// The host's port that leads to the node's is bound where a client of the node would reach it.
async fn bind(
    machine: &Machine,
    flags: &Flags,
    address: IpAddr,
) -> Result<Option<TcpListener>, String> {
    let reachable =
        address.is_unspecified() || address.is_loopback() || address.to_string() == machine.node_ip;
    let port = flags.secure_port();
    if !reachable {
        return Err(format!(
            "failed to create listener: failed to listen on {address}:{port}: listen tcp {address}:{port}: bind: cannot assign requested address"
        ));
    }
    if port != NODE_PORT {
        return Ok(None);
    }
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, machine.api_port));
    match TcpListener::bind(host).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) => Err(format!(
            "failed to create listener: failed to listen on {address}:{port}: listen tcp {address}:{port}: bind: {}",
            go_error_text(&error)
        )),
    }
}

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn serving_certificate(flags: &Flags, rootfs: &Rootfs) -> Result<Chain, String> {
    let (cert_file, key_file) = (
        flags.line.text("tls-cert-file"),
        flags.line.text("tls-private-key-file"),
    );
    if cert_file.is_empty() && key_file.is_empty() {
        return self_signed();
    }
    let cert = read(rootfs, &cert_file)?;
    let key = read(rootfs, &key_file)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&cert)
        .filter_map(Result::ok)
        .collect();
    if chain.is_empty() {
        return Err("tls: failed to find any PEM data in certificate input".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| "tls: failed to find any PEM data in key input".to_owned())?;
    Ok((chain, key))
}

/// Without `--tls-cert-file` the server makes its own certificate.
fn self_signed() -> Result<Chain, String> {
    let failed = |error: rcgen::Error| format!("error creating self-signed certificates: {error}");
    let made = rcgen::generate_simple_self_signed(vec![
        "localhost".to_owned(),
        "kubernetes.default.svc".to_owned(),
        "127.0.0.1".to_owned(),
    ])
    .map_err(failed)?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(|error| format!("error creating self-signed certificates: {error}"))?;
    Ok((vec![made.cert.der().clone()], key))
}

fn bundle(rootfs: &Rootfs, path: &str, name: &str) -> Result<ClientCa, String> {
    let pem = read(rootfs, path)?;
    ClientCa::from_pem(&pem)
        .map_err(|error| format!("unable to load client CA provider: {name}::{path}: {error}"))
}

fn authenticators(flags: &Flags, rootfs: &Rootfs) -> Result<Authn, String> {
    let line = &flags.line;
    let client_ca = match line.text("client-ca-file") {
        path if path.is_empty() => None,
        path => Some(bundle(rootfs, &path, "client-ca-bundle")?),
    };
    let request_header = match line.text("requestheader-client-ca-file") {
        path if path.is_empty() => None,
        path => Some(RequestHeader {
            ca: bundle(rootfs, &path, "request-header")?,
            allowed_names: line.list("requestheader-allowed-names"),
            username_headers: line.list("requestheader-username-headers"),
            uid_headers: line.list("requestheader-uid-headers"),
            group_headers: line.list("requestheader-group-headers"),
            extra_prefixes: line.list("requestheader-extra-headers-prefix"),
        }),
    };
    // Without authorisation an anonymous user could do everything.
    let open = flags
        .authorization_modes()
        .iter()
        .all(|mode| mode == "AlwaysAllow");
    Ok(Authn {
        client_ca,
        request_header,
        anonymous: line.bool("anonymous-auth") && !open,
        bootstrap_tokens: line.bool("enable-bootstrap-token-auth"),
        cache: TokenCache::default(),
    })
}

fn tokens(flags: &Flags, rootfs: &Rootfs, signing: Option<&[u8]>) -> Result<Tokens, String> {
    let mut verifying = Vec::new();
    for path in flags.line.list("service-account-key-file") {
        let pem = read(rootfs, &path)?;
        if super::authn::tokens::PublicKey::all_from_pem(&pem).is_empty() {
            return Err(format!(
                "error reading public key file {path}: data does not contain any valid RSA or ECDSA public keys"
            ));
        }
        verifying.push(pem);
    }
    Tokens::new(
        flags.issuers(),
        flags.api_audiences(),
        signing,
        &verifying,
        flags.line.bool("service-account-extend-token-expiration"),
    )
}

/// What a real server reads after the audit options.
fn after_audit(flags: &Flags, rootfs: &Rootfs) -> Result<(), String> {
    for name in [
        "kubelet-client-certificate",
        "kubelet-client-key",
        "kubelet-certificate-authority",
        "proxy-client-cert-file",
        "proxy-client-key-file",
    ] {
        let path = flags.line.text(name);
        if !path.is_empty() {
            read(rootfs, &path)?;
        }
    }
    let admission = flags.line.text("admission-control-config-file");
    if !admission.is_empty() {
        read(rootfs, &admission).map_err(|reason| {
            format!(
                "failed to initialize admission: failed to read plugin config: unable to read admission control configuration from {} [{reason}]",
                crate::audit::options::number::quote(&admission)
            )
        })?;
    }
    for name in ["etcd-cafile", "etcd-certfile", "etcd-keyfile"] {
        let path = flags.line.text(name);
        if !path.is_empty() {
            read(rootfs, &path)?;
        }
    }
    Ok(())
}
