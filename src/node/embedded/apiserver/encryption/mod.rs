//! The file of `--encryption-provider-config`, read and validated, and what is known of its plugins
//! (`k8s.io/apiserver/pkg/server/options/encryptionconfig/config.go`).
//!
//! Objects are stored as they are: who reads the store's file finds no prefix of a provider. A KMS plugin is never there, so
//! that its health check fails; objects it should encrypt are stored all the same.

mod validate;

use serde_json::Value;

use super::flags::{Flags, absolute, aggregate, gates};
use super::klog::Klog;
use super::schema::config_file::{Scheme, V1};
use crate::audit::options::number::quote;
use crate::node::embedded::process::go_error_text;
use crate::node::embedded::runtime::rootfs::Rootfs;

/// Largest file.
const LIMIT: u64 = 1 << 20;

const SCHEME: Scheme = Scheme {
    name: "pkg/server/options/encryptionconfig/config.go:142",
    versions: V1,
};

/// What a valid configuration means for the running server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encryption {
    /// The check of its plugins in `/healthz`, `/livez` and `/readyz`; with
    /// `--encryption-provider-config-automatic-reload` there is one even without plugins.
    pub check: Option<&'static str>,
    /// Why that check fails.
    pub failure: Option<String>,
    /// Whether the file is watched.
    pub reloads: bool,
}

/// `schema.GroupResource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GroupResource<'a> {
    resource: &'a str,
    group: &'a str,
}

impl<'a> GroupResource<'a> {
    const ANY: GroupResource<'static> = GroupResource {
        resource: "*",
        group: "*",
    };

    /// `schema.ParseGroupResource`.
    fn parse(text: &'a str) -> Self {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        Self { resource, group }
    }

    /// As the file has it.
    fn text(&self) -> String {
        if self.group.is_empty() && self.resource != "*" {
            self.resource.to_owned()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

/// Reads and checks the file.
///
/// # Errors
/// The real text.
pub fn load(rootfs: &Rootfs, flags: &Flags, klog: &Klog) -> Result<Encryption, String> {
    let path = flags.line.text("encryption-provider-config");
    if path.is_empty() {
        return Ok(Encryption::default());
    }
    let reload = flags
        .line
        .bool("encryption-provider-config-automatic-reload");
    let config = parse(rootfs, &path, reload)
        .map_err(|reason| format!("error while parsing file: {reason}"))?;
    let plugins = transformers(&config, flags, klog)
        .map_err(|reason| format!("error while building transformers: {reason}"))?;
    let first = plugins.first();
    // Plugins of the first version are checked one by one; the first that fails stands for them here.
    let together = reload || plugins.iter().all(|plugin| plugin.is_current);
    let failure = first.map(|plugin| {
        let place = if together { "kms-provider-0: " } else { "" };
        let section = if plugin.is_current { "status" } else { "encrypt" };
        format!(
            "{place}failed to perform {section} section of the healthz check for KMS Provider {}, error: rpc error: code = DeadlineExceeded desc = context deadline exceeded",
            plugin.name
        )
    });
    let check = if together {
        "kms-providers"
    } else {
        "kms-provider-0"
    };
    Ok(Encryption {
        check: (reload || failure.is_some()).then_some(check),
        failure,
        reloads: reload,
    })
}

fn parse(rootfs: &Rootfs, path: &str, reload: bool) -> Result<Value, String> {
    let quoted = quote(path);
    let loading = |reason: String| format!("error while loading file: {reason}");
    let bytes = rootfs.read(&absolute(path), LIMIT).map_err(|error| {
        let verb = if error.kind() == std::io::ErrorKind::IsADirectory {
            "read"
        } else {
            "open"
        };
        loading(format!(
            "error reading encryption provider configuration file {quoted}: {verb} {path}: {}",
            go_error_text(&error)
        ))
    })?;
    if bytes.is_empty() {
        return Err(loading(format!(
            "encryption provider configuration file {quoted} is empty"
        )));
    }
    let mut file = SCHEME.read(&bytes).map_err(|reason| {
        format!("error decoding encryption provider configuration file {quoted}: {reason}")
    })?;
    if file.kind != "EncryptionConfiguration" {
        return Err(format!(
            "got unexpected config type: {}, Kind={}",
            file.api_version, file.kind
        ));
    }
    set_defaults(&mut file.value);
    let errors = validate::validate(&file.value, reload);
    if errors.is_empty() {
        return Ok(file.value);
    }
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Err(aggregate(&texts))
}

/// `SetDefaults_KMSConfiguration`.
fn set_defaults(config: &mut Value) {
    let resources = config.get_mut("resources").and_then(Value::as_array_mut);
    for resource in resources.into_iter().flatten() {
        let providers = resource.get_mut("providers").and_then(Value::as_array_mut);
        for provider in providers.into_iter().flatten() {
            let Some(kms) = provider.get_mut("kms").and_then(Value::as_object_mut) else {
                continue;
            };
            kms.entry("timeout").or_insert_with(|| "3s".into());
            if kms.get("apiVersion").and_then(Value::as_str) == Some("") {
                kms.insert("apiVersion".to_owned(), "v1".into());
            }
            if kms.get("apiVersion").and_then(Value::as_str) == Some("v1") {
                kms.entry("cachesize").or_insert_with(|| 1000.into());
            }
        }
    }
}

/// A KMS plugin.
struct Plugin {
    name: String,
    /// Whether it speaks the second version of the protocol.
    is_current: bool,
}

/// Makes the transformers; gives the plugins.
fn transformers(config: &Value, flags: &Flags, klog: &Klog) -> Result<Vec<Plugin>, String> {
    let mut plugins = Vec::new();
    let mut before: Vec<GroupResource<'_>> = Vec::new();
    for resource in items(config, "resources") {
        for provider in items(resource, "providers") {
            let Some(kms) = provider.get("kms").filter(|kms| !kms.is_null()) else {
                continue;
            };
            if text(kms, "apiVersion") == "v1" {
                if !gates::enabled(flags, "KMSv1", false) {
                    return Err("KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead.  Set --feature-gates=KMSv1=true to use the deprecated KMSv1 feature.".to_owned());
                }
                klog.info(0, "config.go:748", "\"KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead.\"");
            }
            let socket = text(kms, "endpoint").trim_start_matches("unix://");
            klog.error("grpc_service.go:70", &format!("\"failed to create connection to unix socket\" err=\"dial unix {socket}: connect: no such file or directory\" addr={}", quote(socket)));
            plugins.push(Plugin {
                name: text(kms, "name").to_owned(),
                is_current: text(kms, "apiVersion") == "v2",
            });
        }
        let names = items(resource, "resources")
            .iter()
            .filter_map(Value::as_str);
        let names: Vec<_> = names.map(GroupResource::parse).collect();
        for one in &names {
            let of_group = GroupResource {
                resource: "*",
                group: one.group,
            };
            if let Some(mask) = [of_group, GroupResource::ANY]
                .into_iter()
                .find(|mask| before.contains(mask))
            {
                return Err(format!(
                    "resource {} is masked by earlier rule {}",
                    quote(&one.text()),
                    quote(&mask.text())
                ));
            }
        }
        before.extend(names);
    }
    Ok(plugins)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
