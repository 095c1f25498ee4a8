//! `kubeadm`: what it tells of a node that is there (`cmd/kubeadm/app/cmd`).

use std::io;

use base64::Engine as _;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::{Tool, table};
use crate::node::embedded::apiserver::version;
use crate::node::embedded::version::{KUBERNETES, PAUSE};

/// Certificates, with the authority that signs each: `pki/NAME.crt`, or within a kubeconfig.
const CERTIFICATES: [(&str, &str); 11] = [
    ("admin.conf", "ca"),
    ("apiserver", "ca"),
    ("apiserver-etcd-client", "etcd-ca"),
    ("apiserver-kubelet-client", "ca"),
    ("controller-manager.conf", "ca"),
    ("etcd-healthcheck-client", "etcd-ca"),
    ("etcd-peer", "etcd-ca"),
    ("etcd-server", "etcd-ca"),
    ("front-proxy-client", "front-proxy-ca"),
    ("scheduler.conf", "ca"),
    ("super-admin.conf", "ca"),
];

const AUTHORITIES: [&str; 3] = ["ca", "etcd-ca", "front-proxy-ca"];

pub(super) fn run(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let words: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with('-'))
        .collect();
    match words.as_slice() {
        ["version", ..] => show_version(tool, arguments),
        ["certs", "check-expiration", ..] => check_expiration(tool, arguments),
        ["config", "images", "list", ..] => {
            for image in images() {
                writeln!(tool.out, "{image}")?;
            }
            Ok(0)
        }
        [] => {
            writeln!(
                tool.out,
                "\n\n    ┌──────────────────────────────────────────────────────────┐\n    │ KUBEADM                                                  │\n    │ Easily bootstrap a secure Kubernetes cluster             │\n    │                                                          │\n    │ Please give us feedback at:                              │\n    │ https://github.com/kubernetes/kubeadm/issues             │\n    └──────────────────────────────────────────────────────────┘\n\nUsage:\n  kubeadm [command]\n\nOn this node: certs check-expiration, config images list, version."
            )?;
            Ok(0)
        }
        [
            "certs" | "config" | "init" | "join" | "kubeconfig" | "reset" | "token" | "upgrade",
            ..,
        ] => {
            writeln!(
                tool.err,
                "kubeadm {}: not simulated on this node",
                words.join(" ")
            )?;
            Ok(1)
        }
        [other, ..] => {
            writeln!(
                tool.err,
                "error: unknown command {other:?} for \"kubeadm\"\nTo see the stack trace of this error execute with --v=5 or higher"
            )?;
            Ok(1)
        }
    }
}

fn output(arguments: &[String]) -> Option<&str> {
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        if word == "-o" || word == "--output" {
            return rest.next().map(String::as_str);
        }
        let joined = word
            .strip_prefix("--output=")
            .or_else(|| word.strip_prefix("-o="));
        if let Some(value) = joined.or_else(|| word.strip_prefix("-o")) {
            return Some(value);
        }
    }
    None
}

fn show_version(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let info = version::info();
    let text = |name: &str| info.get(name).and_then(Value::as_str).unwrap_or("");
    let own = json!({"clientVersion": {
        "major": text("major"), "minor": text("minor"), "gitVersion": KUBERNETES,
        "gitCommit": text("gitCommit"), "gitTreeState": text("gitTreeState"),
        "buildDate": text("buildDate"), "goVersion": text("goVersion"),
        "compiler": text("compiler"), "platform": text("platform"),
    }});
    match output(arguments) {
        None | Some("") => writeln!(
            tool.out,
            "kubeadm version: &version.Info{{Major:\"1\", Minor:\"36\", EmulationMajor:\"\", EmulationMinor:\"\", MinCompatibilityMajor:\"\", MinCompatibilityMinor:\"\", GitVersion:\"{KUBERNETES}\", GitCommit:\"{}\", GitTreeState:\"clean\", BuildDate:\"{}\", GoVersion:\"{}\", Compiler:\"gc\", Platform:\"{}\"}}",
            text("gitCommit"),
            text("buildDate"),
            text("goVersion"),
            text("platform")
        )?,
        Some("short") => writeln!(tool.out, "{KUBERNETES}")?,
        Some("json") => {
            let text = serde_json::to_string_pretty(&own).unwrap_or_default();
            writeln!(tool.out, "{text}")?;
        }
        Some("yaml") => {
            let text = serde_yaml::to_string(&own).map_err(io::Error::other)?;
            write!(tool.out, "{text}")?;
        }
        Some(other) => {
            writeln!(
                tool.err,
                "error: invalid output format: {other}\nTo see the stack trace of this error execute with --v=5 or higher"
            )?;
            return Ok(1);
        }
    }
    Ok(0)
}

/// The images of a control plane of this version.
fn images() -> Vec<String> {
    let mut images: Vec<String> = ["apiserver", "controller-manager", "scheduler", "proxy"]
        .iter()
        .map(|name| format!("registry.k8s.io/kube-{name}:{KUBERNETES}"))
        .collect();
    images.push("registry.k8s.io/coredns/coredns:v1.14.2".to_owned());
    images.push(PAUSE.to_owned());
    let etcd = include_str!("../root/manifests/etcd.yaml");
    let etcd = etcd
        .lines()
        .find_map(|line| line.trim().strip_prefix("image: "));
    images.extend(etcd.map(str::to_owned));
    images
}

/// When the certificate of a PEM file or of a kubeconfig ends.
fn ends(tool: &Tool<'_>, name: &str) -> Option<Timestamp> {
    let path = match name {
        name if name.ends_with(".conf") => format!("/etc/kubernetes/{name}"),
        "etcd-ca" => "/etc/kubernetes/pki/etcd/ca.crt".to_owned(),
        "etcd-healthcheck-client" => "/etc/kubernetes/pki/etcd/healthcheck-client.crt".to_owned(),
        "etcd-peer" => "/etc/kubernetes/pki/etcd/peer.crt".to_owned(),
        "etcd-server" => "/etc/kubernetes/pki/etcd/server.crt".to_owned(),
        name => format!("/etc/kubernetes/pki/{name}.crt"),
    };
    let mut bytes = tool.node.read(&path, 1 << 20).ok()?;
    if name.ends_with(".conf") {
        let config: Value = serde_yaml::from_slice(&bytes).ok()?;
        let data = config.pointer("/users/0/user/client-certificate-data")?;
        bytes = base64::prelude::BASE64_STANDARD
            .decode(data.as_str()?)
            .ok()?;
    }
    let (_, pem) = x509_parser::pem::parse_x509_pem(&bytes).ok()?;
    let seconds = pem.parse_x509().ok()?.validity().not_after.timestamp();
    Timestamp::from_second(seconds).ok()
}

/// `duration.ShortHumanDuration`.
fn residual(end: Timestamp) -> String {
    let seconds = end.duration_since(Timestamp::now()).as_secs();
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        86_400..31_536_000 => format!("{}d", seconds / 86_400),
        _ => format!("{}y", seconds / 31_536_000),
    }
}

fn check_expiration(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let up = tool.snapshot()?.is_some_and(|snapshot| {
        snapshot
            .api_server_container()
            .is_some_and(|container| container.ready)
    });
    if let Some(format) = output(arguments).filter(|format| *format != "text") {
        return listed(tool, format);
    }
    writeln!(
        tool.out,
        "[check-expiration] Reading configuration from the \"kubeadm-config\" ConfigMap in namespace \"kube-system\"..."
    )?;
    if up {
        writeln!(
            tool.out,
            "[check-expiration] Use 'kubeadm init phase upload-config kubeadm --config your-config-file' to re-upload it.\n"
        )?;
    } else {
        writeln!(
            tool.out,
            "[check-expiration] Error reading configuration from the Cluster. Falling back to default configuration\n"
        )?;
    }
    let date = |end: Timestamp| {
        let end = end.to_zoned(TimeZone::UTC);
        end.strftime("%b %d, %Y %H:%M UTC").to_string()
    };
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let mut rows = vec![words(&[
        "CERTIFICATE",
        "EXPIRES",
        "RESIDUAL TIME",
        "CERTIFICATE AUTHORITY",
        "EXTERNALLY MANAGED",
    ])];
    for (name, authority) in CERTIFICATES {
        rows.push(match ends(tool, name) {
            Some(end) => words(&[name, &date(end), &residual(end), authority, "no      "]),
            None => words(&[&format!("!MISSING! {name}"), "", "", "", ""]),
        });
    }
    for line in table::aligned(&rows, 10, 3) {
        writeln!(tool.out, "{line}")?;
    }
    writeln!(tool.out)?;
    let mut rows = vec![words(&[
        "CERTIFICATE AUTHORITY",
        "EXPIRES",
        "RESIDUAL TIME",
        "EXTERNALLY MANAGED",
    ])];
    for name in AUTHORITIES {
        rows.push(match ends(tool, name) {
            Some(end) => words(&[name, &date(end), &residual(end), "no      "]),
            None => words(&[&format!("!MISSING! {name}"), "", "", ""]),
        });
    }
    for line in table::aligned(&rows, 10, 3) {
        writeln!(tool.out, "{line}")?;
    }
    Ok(0)
}

fn listed(tool: &mut Tool<'_>, format: &str) -> io::Result<u8> {
    let one = |name: &str, authority: Option<&str>| {
        let end = ends(tool, name);
        let left = end.map_or(0, |end| end.duration_since(Timestamp::now()).as_secs());
        let mut value = json!({
            "name": name,
            "expirationDate": end.map(|end| end.to_string()),
            "residualTime": left,
            "externallyManaged": false,
            "missing": end.is_none(),
        });
        if let (Some(authority), Some(object)) = (authority, value.as_object_mut()) {
            object.insert("caName".into(), json!(authority));
        }
        value
    };
    let certificates: Vec<Value> = CERTIFICATES.iter().map(|(n, a)| one(n, Some(a))).collect();
    let authorities: Vec<Value> = AUTHORITIES.iter().map(|name| one(name, None)).collect();
    let value = json!({
        "kind": "CertificateExpirationInfo",
        "apiVersion": "output.kubeadm.k8s.io/v1alpha3",
        "certificates": certificates,
        "certificateAuthorities": authorities,
    });
    let text = match format {
        "yaml" => serde_yaml::to_string(&value).map_err(io::Error::other)?,
        _ => format!(
            "{}\n",
            serde_json::to_string_pretty(&value).unwrap_or_default()
        ),
    };
    write!(tool.out, "{text}")?;
    Ok(0)
}
