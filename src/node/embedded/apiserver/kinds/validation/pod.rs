//! Pods and pod templates (`pkg/apis/core/validation/validation.go`).

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{Errors, meta, name, pod_update};
use crate::node::embedded::apiserver::kinds::defaults::pod::VOLUME_SOURCES;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::kinds::quantity::Quantity;

/// A pod that is created or updated, itself or through a subresource.
pub fn pod(subresource: &str, old: Option<&Value>, new: &Value, e: &mut Errors) {
    let empty = Value::Null;
    let spec_value = new.get("spec").unwrap_or(&empty);
    if subresource != "status" {
        spec(spec_value, "spec", e);
    }
    match old {
        None => {
            if !items(spec_value, "/ephemeralContainers").is_empty() {
                e.forbidden("spec.ephemeralContainers", "cannot be set on create");
            }
            if !text_at(spec_value, "/nodeName").is_empty()
                && !items(spec_value, "/schedulingGates").is_empty()
            {
                e.forbidden(
                    "spec.nodeName",
                    "cannot be set until all schedulingGates have been cleared",
                );
            }
        }
        Some(old) => match subresource {
            "" => pod_update::pod(old, new, e),
            "ephemeralcontainers" => pod_update::ephemeral(old, new, e),
            "status" => pod_update::status(old, new, e),
            _ => {}
        },
    }
}

/// A template of pods.
pub fn template(template: Option<&Value>, path: &str, e: &mut Errors) {
    let empty = Value::Null;
    let template = template.unwrap_or(&empty);
    meta::labels(
        template.pointer("/metadata/labels"),
        &format!("{path}.labels"),
        e,
    );
    meta::annotations(
        template.pointer("/metadata/annotations"),
        &format!("{path}.annotations"),
        e,
    );
    let spec_value = template.get("spec").unwrap_or(&empty);
    spec(spec_value, &format!("{path}.spec"), e);
    if !items(spec_value, "/ephemeralContainers").is_empty() {
        e.forbidden(
            &format!("{path}.spec.ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

/// The specification of a pod.
pub fn spec(spec: &Value, path: &str, e: &mut Errors) {
    let volumes = volumes(spec, path, e);
    let containers = items(spec, "/containers");
    if containers.is_empty() {
        e.required(&format!("{path}.containers"), "");
    }
    let mut names = HashSet::new();
    for (at, one) in containers.iter().enumerate() {
        container(
            one,
            &format!("{path}.containers[{at}]"),
            &volumes,
            spec,
            &mut names,
            e,
        );
    }
    for (at, one) in items(spec, "/initContainers").iter().enumerate() {
        container(
            one,
            &format!("{path}.initContainers[{at}]"),
            &volumes,
            spec,
            &mut names,
            e,
        );
    }
    for (at, one) in items(spec, "/ephemeralContainers").iter().enumerate() {
        ephemeral(
            one,
            &format!("{path}.ephemeralContainers[{at}]"),
            &volumes,
            spec,
            &mut names,
            e,
        );
    }
    e.one_of(
        &format!("{path}.restartPolicy"),
        spec.get("restartPolicy"),
        &["Always", "OnFailure", "Never"],
    );
    e.one_of(
        &format!("{path}.dnsPolicy"),
        spec.get("dnsPolicy"),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    );
    meta::labels(spec.get("nodeSelector"), &format!("{path}.nodeSelector"), e);
    security_context(spec, path, e);
    affinity(spec, path, e);
    for (key, check) in [
        (
            "serviceAccountName",
            name::subdomain as fn(&str) -> Vec<String>,
        ),
        ("nodeName", name::subdomain),
    ] {
        let text = text_at(spec, &format!("/{key}"));
        if !text.is_empty() {
            for problem in check(text) {
                e.invalid(&format!("{path}.{key}"), &text.into(), problem);
            }
        }
    }
    if let Some(seconds) = spec
        .get("activeDeadlineSeconds")
        .filter(|value| !value.is_null())
        && !seconds
            .as_i64()
            .is_some_and(|n| (1..=i64::from(i32::MAX)).contains(&n))
    {
        e.invalid(
            &format!("{path}.activeDeadlineSeconds"),
            seconds,
            "must be between 1 and 2147483647, inclusive",
        );
    }
    for key in ["hostname", "subdomain"] {
        let text = text_at(spec, &format!("/{key}"));
        if !text.is_empty() {
            for problem in name::label(text) {
                e.invalid(&format!("{path}.{key}"), &text.into(), problem);
            }
        }
    }
    for (at, toleration) in items(spec, "/tolerations").iter().enumerate() {
        tolerate(toleration, &format!("{path}.tolerations[{at}]"), e);
    }
    for (at, alias) in items(spec, "/hostAliases").iter().enumerate() {
        let ip = text_at(alias, "/ip");
        for problem in name::ip(ip) {
            e.invalid(&format!("{path}.hostAliases[{at}].ip"), &ip.into(), problem);
        }
    }
    if let Some(os) = spec.get("os").filter(|os| !os.is_null()) {
        match text_at(os, "/name") {
            "" => e.required(&format!("{path}.os.name"), ""),
            "linux" | "windows" => {}
            other => e.not_supported(&format!("{path}.os"), &other.into(), &["linux", "windows"]),
        }
    }
}

fn security_context(spec: &Value, path: &str, e: &mut Errors) {
    for key in ["runAsUser", "runAsGroup", "fsGroup"] {
        let Some(value) = spec.pointer(&format!("/securityContext/{key}")) else {
            continue;
        };
        if value
            .as_i64()
            .is_some_and(|n| !(0..=i64::from(i32::MAX)).contains(&n))
        {
            e.invalid(
                &format!("{path}.securityContext.{key}"),
                value,
                "must be between 0 and 2147483647, inclusive",
            );
        }
    }
}

fn affinity(spec: &Value, path: &str, e: &mut Errors) {
    let required = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    if let Some(selector) = spec.pointer(required).filter(|value| !value.is_null())
        && items(selector, "/nodeSelectorTerms").is_empty()
    {
        e.required(
            &format!("{path}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"),
            "must have at least one node selector term",
        );
    }
}

fn tolerate(toleration: &Value, path: &str, e: &mut Errors) {
    let key = text_at(toleration, "/key");
    let operator = text_at(toleration, "/operator");
    if !key.is_empty() {
        for problem in name::qualified(key) {
            e.invalid(&format!("{path}.key"), &key.into(), problem);
        }
    }
    if key.is_empty() && operator != "Exists" {
        e.invalid(
            &format!("{path}.operator"),
            &operator.into(),
            "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        );
    }
    match operator {
        "" | "Equal" => {
            for problem in name::label_value(text_at(toleration, "/value")) {
                e.invalid(
                    &format!("{path}.operator"),
                    &text_at(toleration, "/value").into(),
                    problem,
                );
            }
        }
        "Exists" => {
            if !text_at(toleration, "/value").is_empty() {
                e.invalid(
                    &format!("{path}.operator"),
                    toleration,
                    "value must be empty when `operator` is 'Exists'",
                );
            }
        }
        other => e.not_supported(
            &format!("{path}.operator"),
            &other.into(),
            &["Equal", "Exists"],
        ),
    }
    let effect = text_at(toleration, "/effect");
    if !matches!(effect, "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        e.not_supported(
            &format!("{path}.effect"),
            &effect.into(),
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
        );
    }
}

/// Checks the volumes; gives their names.
fn volumes(spec: &Value, path: &str, e: &mut Errors) -> HashSet<String> {
    let mut names = HashSet::new();
    for (at, volume) in items(spec, "/volumes").iter().enumerate() {
        let path = format!("{path}.volumes[{at}]");
        let before = e.len();
        source(volume, &path, e);
        let own = text_at(volume, "/name");
        if own.is_empty() {
            e.required(&format!("{path}.name"), "");
        } else {
            for problem in name::label(own) {
                e.invalid(&format!("{path}.name"), &own.into(), problem);
            }
            if names.contains(own) {
                e.duplicate(&format!("{path}.name"), &own.into());
            }
        }
        if e.len() == before || !own.is_empty() {
            names.insert(own.to_owned());
        }
    }
    names
}

/// Where a volume comes from.
fn source(volume: &Value, path: &str, e: &mut Errors) {
    let set: Vec<&str> = VOLUME_SOURCES
        .into_iter()
        .filter(|kind| volume.get(*kind).is_some_and(|value| !value.is_null()))
        .collect();
    for extra in set.iter().skip(1) {
        e.forbidden(
            &format!("{path}.{extra}"),
            "may not specify more than 1 volume type",
        );
    }
    let Some(kind) = set.first() else {
        e.required(path, "must specify a volume type");
        return;
    };
    let need = |key: &str, e: &mut Errors| {
        if text_at(volume, &format!("/{kind}/{key}")).is_empty() {
            e.required(&format!("{path}.{kind}.{key}"), "");
        }
    };
    match *kind {
        "hostPath" => host_path(volume, path, e),
        "secret" => need("secretName", e),
        "configMap" => need("name", e),
        "persistentVolumeClaim" => need("claimName", e),
        "nfs" => {
            need("server", e);
            need("path", e);
        }
        "csi" => need("driver", e),
        _ => {}
    }
}

/// A path of the host.
pub fn host_path(source: &Value, path: &str, e: &mut Errors) {
    let text = text_at(source, "/hostPath/path");
    if text.is_empty() {
        e.required(&format!("{path}.hostPath.path"), "");
        return;
    }
    if text.split('/').any(|part| part == "..") {
        e.invalid(
            &format!("{path}.hostPath.path"),
            &text.into(),
            "must not contain '..'",
        );
    }
    let kind = text_at(source, "/hostPath/type");
    let known = [
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    if !known.contains(&kind) {
        e.not_supported(&format!("{path}.hostPath.type"), &kind.into(), &known);
    }
}

fn container(
    one: &Value,
    path: &str,
    volumes: &HashSet<String>,
    spec: &Value,
    names: &mut HashSet<String>,
    e: &mut Errors,
) {
    common(one, path, volumes, spec, names, e);
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = one.get(key).filter(|probe| !probe.is_null()) {
            self::probe(probe, &format!("{path}.{key}"), key, e);
        }
    }
}

fn ephemeral(
    one: &Value,
    path: &str,
    volumes: &HashSet<String>,
    spec: &Value,
    names: &mut HashSet<String>,
    e: &mut Errors,
) {
    for key in [
        "ports",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
        "resizePolicy",
    ] {
        let set = one.get(key).is_some_and(|value| {
            !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
        });
        if set {
            e.forbidden(
                &format!("{path}.{key}"),
                "cannot be set for an Ephemeral Container",
            );
        }
    }
    common(one, path, volumes, spec, names, e);
    let target = text_at(one, "/targetContainerName");
    let known = ["/containers", "/initContainers"]
        .iter()
        .flat_map(|list| items(spec, list))
        .any(|container| text_at(container, "/name") == target);
    if !target.is_empty() && !known {
        e.not_found(&format!("{path}.targetContainerName"), &target.into());
    }
}

fn common(
    one: &Value,
    path: &str,
    volumes: &HashSet<String>,
    spec: &Value,
    names: &mut HashSet<String>,
    e: &mut Errors,
) {
    let own = text_at(one, "/name");
    if own.is_empty() {
        e.required(&format!("{path}.name"), "");
    } else {
        for problem in name::label(own) {
            e.invalid(&format!("{path}.name"), &own.into(), problem);
        }
        if !names.insert(own.to_owned()) {
            e.duplicate(&format!("{path}.name"), &own.into());
        }
    }
    let image = text_at(one, "/image");
    if image.is_empty() {
        e.required(&format!("{path}.image"), "");
    } else if image.trim() != image {
        e.invalid(
            &format!("{path}.image"),
            &image.into(),
            "must not have leading or trailing whitespace",
        );
    }
    ports(one, path, e);
    environment(one, path, e);
    let mut mounted = HashSet::new();
    for (at, mount) in items(one, "/volumeMounts").iter().enumerate() {
        let path = format!("{path}.volumeMounts[{at}]");
        let volume = text_at(mount, "/name");
        if volume.is_empty() {
            e.required(&format!("{path}.name"), "");
        }
        if !volumes.contains(volume) {
            e.not_found(&format!("{path}.name"), &volume.into());
        }
        let target = text_at(mount, "/mountPath");
        if target.is_empty() {
            e.required(&format!("{path}.mountPath"), "");
        } else if !mounted.insert(target) {
            e.invalid(
                &format!("{path}.mountPath"),
                &target.into(),
                "must be unique",
            );
        }
    }
    e.one_of(
        &format!("{path}.imagePullPolicy"),
        one.get("imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
    );
    resources(one, path, e);
    container_security(one, path, spec, e);
}

fn ports(one: &Value, path: &str, e: &mut Errors) {
    let mut names = HashSet::new();
    for (at, port) in items(one, "/ports").iter().enumerate() {
        let path = format!("{path}.ports[{at}]");
        let own = text_at(port, "/name");
        if !own.is_empty() {
            let problems = name::port_name(own);
            if problems.is_empty() && !names.insert(own) {
                e.duplicate(&format!("{path}.name"), &own.into());
            }
            for problem in problems {
                e.invalid(&format!("{path}.name"), &own.into(), problem);
            }
        }
        let number = |key: &str| port.get(key).and_then(Value::as_i64).unwrap_or(0);
        let range = "must be between 1 and 65535, inclusive";
        if number("containerPort") == 0 {
            e.required(&format!("{path}.containerPort"), "");
        } else if !(1..=65535).contains(&number("containerPort")) {
            e.invalid(
                &format!("{path}.containerPort"),
                &number("containerPort").into(),
                range,
            );
        }
        if number("hostPort") != 0 && !(1..=65535).contains(&number("hostPort")) {
            e.invalid(
                &format!("{path}.hostPort"),
                &number("hostPort").into(),
                range,
            );
        }
        e.one_of(
            &format!("{path}.protocol"),
            port.get("protocol"),
            &["SCTP", "TCP", "UDP"],
        );
    }
}

fn environment(one: &Value, path: &str, e: &mut Errors) {
    for (at, variable) in items(one, "/env").iter().enumerate() {
        let path = format!("{path}.env[{at}]");
        let own = text_at(variable, "/name");
        if own.is_empty() {
            e.required(&format!("{path}.name"), "");
        } else if own.contains('=') || !own.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            e.invalid(
                &format!("{path}.name"),
                &own.into(),
                "a valid environment variable name must consist only of printable ASCII characters other than '='",
            );
        }
        let Some(source) = variable.get("valueFrom").filter(|source| !source.is_null()) else {
            continue;
        };
        let path = format!("{path}.valueFrom");
        if let Some(field) = source.get("fieldRef").filter(|field| !field.is_null()) {
            let wanted = text_at(field, "/fieldPath");
            let path = format!("{path}.fieldRef.fieldPath");
            let known = [
                "metadata.name",
                "metadata.namespace",
                "metadata.uid",
                "spec.nodeName",
                "spec.serviceAccountName",
                "status.hostIP",
                "status.hostIPs",
                "status.podIP",
                "status.podIPs",
            ];
            if wanted.is_empty() {
                e.required(&path, "");
            } else if !known.contains(&wanted)
                && !wanted.starts_with("metadata.labels['")
                && !wanted.starts_with("metadata.annotations['")
            {
                e.invalid(
                    &path,
                    &wanted.into(),
                    format!("error converting fieldPath: field label not supported: {wanted}"),
                );
            }
        }
        for kind in ["secretKeyRef", "configMapKeyRef"] {
            if let Some(reference) = source.get(kind).filter(|reference| !reference.is_null()) {
                for key in ["name", "key"] {
                    if text_at(reference, &format!("/{key}")).is_empty() && key == "key" {
                        e.required(&format!("{path}.{kind}.{key}"), "");
                    }
                }
            }
        }
    }
}

/// Whether a resource name is one of Kubernetes itself.
fn is_native(resource: &str) -> bool {
    !resource.contains('/') || resource.contains("kubernetes.io/")
}

fn resources(one: &Value, path: &str, e: &mut Errors) {
    let empty = Map::new();
    let list = |key: &str| {
        one.pointer(&format!("/resources/{key}"))
            .and_then(Value::as_object)
            .unwrap_or(&empty)
    };
    let (limits, requests) = (list("limits"), list("requests"));
    let standard = |resource: &str| {
        matches!(resource, "cpu" | "memory" | "ephemeral-storage")
            || resource.starts_with("hugepages-")
    };
    for (key, all) in [("limits", limits), ("requests", requests)] {
        for (resource, value) in all {
            let at = format!("{path}.resources.{key}[{resource}]");
            for problem in name::qualified(resource) {
                e.invalid(&at, &resource.as_str().into(), problem);
            }
            if !resource.contains('/') && !standard(resource) {
                e.invalid(
                    &at,
                    &resource.as_str().into(),
                    "must be a standard resource type or fully qualified",
                );
                e.invalid(
                    &at,
                    &resource.as_str().into(),
                    "must be a standard resource for containers",
                );
            }
            let quantity = value.as_str().and_then(Quantity::parse);
            if quantity.is_some_and(Quantity::is_negative) {
                e.invalid(&at, value, "must be greater than or equal to 0");
            }
            if key == "limits" {
                continue;
            }
            let limit = limits
                .get(resource)
                .and_then(Value::as_str)
                .and_then(Quantity::parse);
            match (limit, quantity) {
                (Some(limit), Some(request)) if request > limit => {
                    e.invalid(
                        &format!("{path}.resources.requests"),
                        value,
                        format!(
                            "must be less than or equal to {resource} limit of {}",
                            limit.canonical()
                        ),
                    );
                }
                (None, Some(_)) if !is_native(resource) || resource.starts_with("hugepages-") => {
                    e.required(
                        &format!("{path}.resources.limits"),
                        "Limit must be set for non overcommitable resources",
                    );
                }
                _ => {}
            }
        }
    }
}

fn container_security(one: &Value, path: &str, spec: &Value, e: &mut Errors) {
    let Some(context) = one
        .get("securityContext")
        .filter(|context| !context.is_null())
    else {
        return;
    };
    let path = format!("{path}.securityContext");
    match text_at(context, "/procMount") {
        "" | "Default" => {}
        "Unmasked" => {
            if spec.get("hostUsers") != Some(&Value::Bool(false)) {
                e.invalid(
                    &format!("{path}.procMount"),
                    &"Unmasked".into(),
                    "`hostUsers` must be false to use `Unmasked`",
                );
            }
        }
        other => e.not_supported(
            &format!("{path}.procMount"),
            &other.into(),
            &["Default", "Unmasked"],
        ),
    }
    if context.get("allowPrivilegeEscalation") == Some(&Value::Bool(false)) {
        let shown = go_security_context(context);
        if context.get("privileged") == Some(&Value::Bool(true)) {
            e.invalid(
                &path,
                &shown,
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            );
        }
        let admin = items(context, "/capabilities/add")
            .iter()
            .any(|name| name == "CAP_SYS_ADMIN");
        if admin {
            e.invalid(
                &path,
                &shown,
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
}

/// The internal type as Go prints it.
fn go_security_context(context: &Value) -> Value {
    let get = |key: &str| context.get(key).cloned().unwrap_or(Value::Null);
    let capabilities = match context.get("capabilities") {
        Some(set) if !set.is_null() => json!({"Add": set.get("add").cloned().unwrap_or_default(),
            "Drop": set.get("drop").cloned().unwrap_or_default()}),
        _ => Value::Null,
    };
    json!({"Capabilities": capabilities, "Privileged": get("privileged"), "SELinuxOptions": get("seLinuxOptions"),
        "WindowsOptions": get("windowsOptions"), "RunAsUser": get("runAsUser"), "RunAsGroup": get("runAsGroup"),
        "RunAsNonRoot": get("runAsNonRoot"), "ReadOnlyRootFilesystem": get("readOnlyRootFilesystem"),
        "AllowPrivilegeEscalation": get("allowPrivilegeEscalation"), "ProcMount": get("procMount"),
        "SeccompProfile": get("seccompProfile"), "AppArmorProfile": get("appArmorProfile")})
}

fn probe(probe: &Value, path: &str, key: &str, e: &mut Errors) {
    let handlers: Vec<&str> = ["exec", "httpGet", "tcpSocket", "grpc"]
        .into_iter()
        .filter(|kind| probe.get(*kind).is_some_and(|value| !value.is_null()))
        .collect();
    if handlers.is_empty() {
        e.required(path, "must specify a handler type");
    }
    for extra in handlers.iter().skip(1) {
        e.forbidden(
            &format!("{path}.{extra}"),
            "may not specify more than 1 handler type",
        );
    }
    match handlers.first() {
        Some(&"exec") if items(probe, "/exec/command").is_empty() => {
            e.required(&format!("{path}.exec.command"), "");
        }
        Some(kind @ (&"httpGet" | &"tcpSocket")) => {
            let port = probe
                .pointer(&format!("/{kind}/port"))
                .cloned()
                .unwrap_or_default();
            let at = format!("{path}.{kind}.port");
            match &port {
                Value::String(text) => {
                    for problem in name::port_name(text) {
                        e.invalid(&at, &port, problem);
                    }
                }
                other if !other.as_i64().is_some_and(|n| (1..=65535).contains(&n)) => {
                    let shown = json!(other.as_i64().unwrap_or(0));
                    e.invalid(&at, &shown, "must be between 1 and 65535, inclusive");
                }
                _ => {}
            }
        }
        _ => {}
    }
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        e.not_negative(&format!("{path}.{field}"), probe.get(field));
    }
    let success = probe
        .get("successThreshold")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    if key != "readinessProbe" && success != 1 {
        e.invalid(
            &format!("{path}.successThreshold"),
            &success.into(),
            "must be 1",
        );
    }
}
