//! `k8s.io/apiserver/pkg/server/options/etcd.go`.

use super::super::Flags;
use crate::audit::options::number::quote;

pub(super) fn validate(flags: &Flags, errors: &mut Vec<String>) {
    let line = &flags.line;
    if line.list("etcd-servers").is_empty() {
        errors.push("--etcd-servers must be specified".to_owned());
    }
    let backend = line.text("storage-backend");
    if !backend.is_empty() && backend != "etcd3" {
        errors.push(
            "--storage-backend invalid, allowed values: etcd3. If not specified, it will default to 'etcd3'"
                .to_owned(),
        );
    }
    if !line
        .list("etcd-servers-overrides")
        .iter()
        .all(|text| is_override(text))
    {
        errors.push("--etcd-servers-overrides invalid, must be of format: group/resource#servers, where servers are URLs, semicolon separated".to_owned());
    }
    if line.text("encryption-provider-config").is_empty()
        && line.bool("encryption-provider-config-automatic-reload")
    {
        errors.push("--encryption-provider-config-automatic-reload must be set with --encryption-provider-config".to_owned());
    }
    let media = line.text("storage-media-type");
    let known = [
        "application/json",
        "application/vnd.kubernetes.protobuf",
        "application/yaml",
    ];
    if !media.is_empty() && !known.contains(&media.as_str()) {
        errors.push(format!(
            "--storage-media-type {} invalid, allowed values: {}",
            quote(&media),
            known.join(", ")
        ));
    }
}

fn is_override(text: &str) -> bool {
    let parts: Vec<&str> = text.split('#').collect();
    let [resource, servers] = parts.as_slice() else {
        return false;
    };
    resource.split('/').count() == 2
        && servers.split(';').all(|server| {
            url_scheme(server).is_some_and(|scheme| scheme == "http" || scheme == "https")
        })
}

fn url_scheme(server: &str) -> Option<String> {
    super::super::url::scheme(server)
        .ok()
        .filter(|scheme| !scheme.is_empty())
}
