//! `pkg/kubeapiserver/options/authentication.go`, `k8s.io/apiserver/pkg/server/options/authentication.go`.

use super::super::{Flags, absolute, gates, url};
use crate::audit::options::number::quote;
use crate::node::embedded::apiserver::klog::Klog;
use crate::node::embedded::runtime::rootfs::Rootfs;

/// Largest bundle of certificates that is compared.
const BUNDLE_LIMIT: u64 = 4 << 20;

pub(super) fn validate(flags: &Flags, rootfs: &Rootfs, klog: &Klog, errors: &mut Vec<String>) {
    oidc(flags, errors);
    issuers(flags, errors);
    let jwks = flags.line.text("service-account-jwks-uri");
    if !jwks.is_empty() {
        match url::scheme(&jwks) {
            Err(reason) => errors.push(format!(
                "service-account-jwks-uri must be a valid URL: {reason}"
            )),
            Ok(scheme) if scheme != "https" => errors.push(format!(
                "service-account-jwks-uri requires https scheme, parsed as: {jwks}"
            )),
            Ok(_) => {}
        }
    }
    request_header(flags, klog, errors);
    let line = &flags.line;
    let (client, proxy) = (
        line.text("client-ca-file"),
        line.text("requestheader-client-ca-file"),
    );
    if !client.is_empty()
        && !proxy.is_empty()
        && line.list("requestheader-allowed-names").is_empty()
        && overlap(rootfs, &client, &proxy)
    {
        errors.push("--requestheader-client-ca-file and --client-ca-file contain overlapping certificates; --requestheader-allowed-names must be specified to ensure regular client certificates cannot set authenticating proxy headers for arbitrary users".to_owned());
    }
}

fn oidc(flags: &Flags, errors: &mut Vec<String>) {
    let line = &flags.line;
    let any = line
        .given_names()
        .iter()
        .any(|name| name.starts_with("oidc-"));
    if !any {
        return;
    }
    if !line.text("authentication-config").is_empty() {
        errors
            .push("authentication-config file and oidc-* flags are mutually exclusive".to_owned());
    } else if line.text("oidc-issuer-url").is_empty() || line.text("oidc-client-id").is_empty() {
        errors.push("oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set".to_owned());
    }
}

fn issuers(flags: &Flags, errors: &mut Vec<String>) {
    let issuers = flags.issuers();
    let mut seen: Vec<&String> = Vec::new();
    for issuer in &issuers {
        if issuer.contains(':')
            && let Err(reason) = url::scheme(issuer)
        {
            errors.push(format!(
                "service-account-issuer {} contained a ':' but was not a valid URL: {reason}",
                quote(issuer)
            ));
        } else if issuer.is_empty() {
            errors.push("service-account-issuer should not be an empty string".to_owned());
        } else if seen.contains(&issuer) {
            errors.push(format!(
                "service-account-issuer {} is already specified",
                quote(issuer)
            ));
        } else {
            seen.push(issuer);
        }
    }
    if issuers.is_empty() {
        errors.push("service-account-issuer is a required flag".to_owned());
    }
    if flags.line.list("service-account-key-file").is_empty()
        && flags
            .line
            .text("service-account-signing-endpoint")
            .is_empty()
    {
        errors.push("either `--service-account-key-file` or `--service-account-signing-endpoint` must be set".to_owned());
    }
}

fn request_header(flags: &Flags, klog: &Klog, errors: &mut Vec<String>) {
    let blank = |name: &str| {
        flags
            .line
            .list(name)
            .iter()
            .any(|item| item.trim().is_empty())
    };
    for name in [
        "requestheader-username-headers",
        "requestheader-group-headers",
        "requestheader-extra-headers-prefix",
        "requestheader-allowed-names",
    ] {
        if blank(name) {
            errors.push(format!("empty value in {}", quote(name)));
        }
    }
    let lacks = |name: &str, standard: &str| {
        let given = flags.line.list(name);
        !given.is_empty() && !given.iter().any(|h| h.eq_ignore_ascii_case(standard))
    };
    for (name, standard, what, place) in [
        ("username-headers", "X-Remote-User", "header", 142),
        ("group-headers", "X-Remote-Group", "header", 145),
        (
            "extra-headers-prefix",
            "X-Remote-Extra-",
            "header prefix",
            148,
        ),
    ] {
        let name = format!("requestheader-{name}");
        if lacks(&name, standard) {
            klog.warning(&format!("authentication.go:{place}"), &format!("--{name} is set without specifying the standard {standard} {what} - API aggregation will not work"));
        }
    }
    let name = "requestheader-uid-headers";
    if gates::enabled(flags, "RemoteRequestHeaderUID", true) {
        if blank(name) {
            errors.push(format!("empty value in {}", quote(name)));
        }
        if lacks(name, "X-Remote-Uid") {
            errors.push("--requestheader-uid-headers is set without specifying the standard X-Remote-Uid header - API aggregation will not work".to_owned());
        }
    } else if !flags.line.list(name).is_empty() {
        errors.push("--requestheader-uid-headers requires the \"RemoteRequestHeaderUID\" feature to be enabled".to_owned());
    }
}

/// Whether both bundles have a certificate in common.
fn overlap(rootfs: &Rootfs, one: &str, other: &str) -> bool {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    let read = |path: &str| -> Vec<CertificateDer<'static>> {
        let Ok(pem) = rootfs.read(&absolute(path), BUNDLE_LIMIT) else {
            return Vec::new();
        };
        CertificateDer::pem_slice_iter(&pem)
            .filter_map(Result::ok)
            .collect()
    };
    let others = read(other);
    read(one)
        .iter()
        .any(|certificate| others.contains(certificate))
}
