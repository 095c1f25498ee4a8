//! Start-up of the server: files read, keys and policy loaded, port bound, in the order (and with the
//! errors) of a real one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;

use super::audit::setup;
use super::authn::certificate::{ClientCa, RequestHeader};
use super::authn::static_tokens::StaticTokens;
use super::authn::tokens::Tokens;
use super::authn::{Authn, TokenCache, configuration};
use super::authz::abac::Abac;
use super::encryption::{self, Encryption};
use super::flags::{Flags, absolute};
use super::http as https;
use super::keypair::{self, Pair};
use super::klog::Klog;
use super::server::Server;
use super::state::ApiState;
use crate::audit::options::number::{parse_bool, quote};
use crate::audit::options::table;
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
    serving_options(&flags, &rootfs)?;
    let encryption = before_authentication(&flags, &rootfs, &klog)?;
    let mut authn = authenticators(&flags, &rootfs)?;
    let tokens = tokens(&flags, &rootfs, signing_key.as_deref())?;
    authn.static_tokens = static_tokens(&flags, &rootfs, &klog)?;
    configuration::make_token_authenticators(&flags, &rootfs)?;
    let abac = authorizers(&flags, &rootfs, &klog)?;
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
    // Said by every server that runs without a file of admission policies.
    klog.error("options.go:205", "The manifest file is empty, ignoring.");
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
        abac,
        encryption,
        audit: Arc::new(audit),
        ..ApiState::new(machine, flags, klog)
    });
    Ok(Server {
        state,
        listener,
        tls,
        bind_address,
        own_network: false,
        socket: None,
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

fn serving_certificate(flags: &Flags, rootfs: &Rootfs) -> Result<Pair, String> {
    let (cert_file, key_file) = (
        flags.line.text("tls-cert-file"),
        flags.line.text("tls-private-key-file"),
    );
    if cert_file.is_empty() && key_file.is_empty() {
        return self_signed();
    }
    keypair::load(rootfs, "serving-cert", &cert_file, &key_file)
}

/// The rest of what TLS needs: suites, curves, version, certificates of single names.
fn serving_options(flags: &Flags, rootfs: &Rootfs) -> Result<(), String> {
    let line = &flags.line;
    let usage = table::find("tls-cipher-suites").map(|flag| flag.usage.join(" "));
    let known = usage.unwrap_or_default();
    for suite in line.list("tls-cipher-suites") {
        let is_known = suite.starts_with("TLS_")
            && known
                .split([',', ' ', '.'])
                .any(|word| word == suite.as_str());
        if !is_known {
            return Err(format!(
                "Cipher suite {suite} not supported or doesn't exist"
            ));
        }
    }
    let mut seen = Vec::new();
    for id in line.list("tls-curve-preferences") {
        let number: i64 = id.parse().unwrap_or(0);
        if !(1..=65535).contains(&number) {
            return Err(format!(
                "curve preference {id} is out of range (must be 1-65535)"
            ));
        }
        if seen.contains(&number) {
            return Err(format!("duplicate curve preference {id}"));
        }
        if !CURVES.contains(&number) {
            return Err(format!(
                "curve preference {id} is not supported by the current Go version"
            ));
        }
        seen.push(number);
    }
    let version = line.text("tls-min-version");
    let known = [
        "",
        "VersionTLS10",
        "VersionTLS11",
        "VersionTLS12",
        "VersionTLS13",
    ];
    if !known.contains(&version.as_str()) {
        return Err(format!("unknown tls version {}", quote(&version)));
    }
    for pair in line.list("tls-sni-cert-key") {
        let files = pair.split(':').next().unwrap_or_default();
        let (cert, key) = files.split_once(',').unwrap_or((files, ""));
        keypair::load(rootfs, "sni-serving-cert", cert, key)
            .map_err(|reason| format!("failed to load SNI cert and key: {reason}"))?;
    }
    Ok(())
}

/// Numbers of the key exchanges Go knows: P-256, P-384, P-521, X25519 and those with ML-KEM.
const CURVES: [i64; 7] = [23, 24, 25, 29, 4587, 4588, 4589];

/// What is applied between serving and authentication (`BuildGenericConfig` of
/// `pkg/controlplane/apiserver/config.go`).
fn before_authentication(
    flags: &Flags,
    rootfs: &Rootfs,
    klog: &Klog,
) -> Result<Encryption, String> {
    let line = &flags.line;
    let (reading, mutating) = (
        line.int("max-requests-inflight"),
        line.int("max-mutating-requests-inflight"),
    );
    if line.bool("enable-priority-and-fairness") && reading + mutating <= 0 {
        return Err(format!(
            "invalid configuration: MaxRequestsInFlight={reading} and MaxMutatingRequestsInFlight={mutating}; they must add up to something positive"
        ));
    }
    let config = line.map("runtime-config");
    for key in ["api/all", "api/ga", "api/beta", "api/alpha"] {
        if let Some(value) = config.get(key).filter(|v| *v != "true" && *v != "false") {
            return Err(format!("invalid value {key}={value}"));
        }
    }
    for (key, value) in &config {
        let parts: Vec<&str> = key.split('/').collect();
        let [group, version, ..] = parts.as_slice() else {
            continue;
        };
        let mut of_group = super::catalog::built_in()
            .iter()
            .filter(|resource| resource.group == *group)
            .peekable();
        if of_group.peek().is_none() {
            continue;
        }
        let is_version =
            version.starts_with('v') && version.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
        if !is_version {
            return Err(format!(
                "group version {group}/{version} that has not been registered"
            ));
        }
        if !value.is_empty()
            && let Err(error) = parse_bool(value)
        {
            return Err(format!("invalid value of {key}: {value}, err: {error}"));
        }
    }
    let egress = line.text("egress-selector-config-file");
    if !egress.is_empty() {
        read(rootfs, &egress).map_err(|reason| {
            format!("failed to read egress selector config: unable to read egress selector configuration from {} [{reason}]", quote(&egress))
        })?;
    }
    let tracing = line.text("tracing-config-file");
    if !tracing.is_empty() {
        read(rootfs, &tracing).map_err(|reason| {
            format!(
                "failed to read tracing config: unable to read tracing configuration from {}: {reason}",
                quote(&tracing)
            )
        })?;
    }
    encryption::load(rootfs, flags, klog)
}

/// What the authorizers read, in their order.
fn authorizers(flags: &Flags, rootfs: &Rootfs, klog: &Klog) -> Result<Abac, String> {
    let invalid = |reason: String| format!("invalid authorization config: {reason}");
    let mut policies = Abac::default();
    for mode in flags.authorization_modes() {
        if mode == "ABAC" {
            let path = flags.line.text("authorization-policy-file");
            let bytes = read(rootfs, &path).map_err(invalid)?;
            policies = Abac::read(&path, &bytes, klog).map_err(invalid)?;
        }
        let webhook = flags.line.text("authorization-webhook-config-file");
        if mode == "Webhook" && !webhook.is_empty() {
            read(rootfs, &webhook)
                .map_err(|reason| invalid(reason.replacen("open ", "stat ", 1)))?;
        }
    }
    Ok(policies)
}

/// Without `--tls-cert-file` the server makes its own certificate.
fn self_signed() -> Result<Pair, String> {
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
    if pem.is_empty() {
        return Err(format!("missing content for CA bundle \"{name}::{path}\""));
    }
    ClientCa::from_pem(&pem)
        .map_err(|error| format!("error loading CA bundle for \"{name}::{path}\": {error}"))
}

fn authenticators(flags: &Flags, rootfs: &Rootfs) -> Result<Authn, String> {
    let line = &flags.line;
    let client_ca = match line.text("client-ca-file") {
        path if path.is_empty() => None,
        path => Some(bundle(rootfs, &path, "client-ca-bundle")?),
    };
    let anonymous = configuration::read_anonymous(flags, rootfs)?;
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
    Ok(Authn {
        static_tokens: StaticTokens::default(),
        client_ca,
        request_header,
        anonymous,
        bootstrap_tokens: line.bool("enable-bootstrap-token-auth"),
        cache: TokenCache::default(),
    })
}

fn static_tokens(flags: &Flags, rootfs: &Rootfs, klog: &Klog) -> Result<StaticTokens, String> {
    let path = flags.line.text("token-auth-file");
    if path.is_empty() {
        return Ok(StaticTokens::default());
    }
    let bytes = read(rootfs, &path)?;
    StaticTokens::read(&path, &String::from_utf8_lossy(&bytes), klog)
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
                quote(&admission)
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
