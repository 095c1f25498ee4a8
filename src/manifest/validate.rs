//! Validation of a pod (`pkg/apis/core/validation/validation.go`): the checks a static-pod
//! manifest can fail, in the real order and with the real texts.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::types::is_quantity;
use super::{flag, handler, list, number, string};

const LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_VALUE_TEXT: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Field errors found so far.
pub(super) struct Errors(Vec<String>);

impl Errors {
    pub(super) fn required(&mut self, path: &str) {
        self.0.push(format!("{path}: Required value"));
    }

    pub(super) fn required_because(&mut self, path: &str, detail: &str) {
        self.0.push(format!("{path}: Required value: {detail}"));
    }

    pub(super) fn invalid(&mut self, path: &str, value: &str, detail: &str) {
        self.0
            .push(format!("{path}: Invalid value: {value:?}: {detail}"));
    }

    pub(super) fn invalid_number(&mut self, path: &str, value: i64, detail: &str) {
        self.0
            .push(format!("{path}: Invalid value: {value}: {detail}"));
    }

    pub(super) fn duplicate(&mut self, path: &str, value: &str) {
        self.0.push(format!("{path}: Duplicate value: {value:?}"));
    }

    pub(super) fn not_found(&mut self, path: &str, value: &str) {
        self.0.push(format!("{path}: Not found: {value:?}"));
    }

    pub(super) fn forbidden(&mut self, path: &str, detail: &str) {
        self.0.push(format!("{path}: Forbidden: {detail}"));
    }

    pub(super) fn unsupported(&mut self, path: &str, value: &str, supported: &[&str]) {
        let supported: BTreeSet<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let supported: Vec<String> = supported.into_iter().collect();
        self.0.push(format!(
            "{path}: Unsupported value: {value:?}: supported values: {}",
            supported.join(", ")
        ));
    }
}

/// Field errors of a defaulted pod that carries the node's name suffix already.
pub(super) fn pod(pod: &Value) -> Vec<String> {
    let mut errors = Errors(Vec::new());
    metadata(&mut errors, pod.get("metadata"));
    let spec = pod.get("spec");
    let volumes = volumes(&mut errors, spec);
    containers(&mut errors, spec, &volumes);
    init_containers(&mut errors, spec, &volumes);
    host_network_ports(&mut errors, spec);
    let policy = string(spec, "restartPolicy");
    if !["Always", "OnFailure", "Never"].contains(&policy.as_str()) {
        errors.unsupported(
            "spec.restartPolicy",
            &policy,
            &["Always", "OnFailure", "Never"],
        );
    }
    let dns = string(spec, "dnsPolicy");
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    if !policies.contains(&dns.as_str()) {
        errors.unsupported("spec.dnsPolicy", &dns, &policies);
    }
    if let Some(grace) = number::<i64>(spec, "terminationGracePeriodSeconds")
        && grace < 0
    {
        errors.invalid_number(
            "spec.terminationGracePeriodSeconds",
            grace,
            "must be greater than or equal to 0",
        );
    }
    errors.0
}

/// The first kind of API object a pod refers to, which a static pod may not.
pub(super) fn api_reference(pod: &Value) -> Option<&'static str> {
    let spec = pod.get("spec");
    for volume in list(spec, "volumes") {
        for (source, resource) in [
            ("secret", "secrets"),
            ("configMap", "configmaps"),
            ("persistentVolumeClaim", "persistentvolumeclaims"),
            ("projected", "serviceaccounts"),
        ] {
            if volume.get(source).is_some() {
                return Some(resource);
            }
        }
    }
    for container in list(spec, "initContainers").chain(list(spec, "containers")) {
        for env in list(Some(container), "env") {
            if env.pointer("/valueFrom/secretKeyRef").is_some() {
                return Some("secrets");
            }
            if env.pointer("/valueFrom/configMapKeyRef").is_some() {
                return Some("configmaps");
            }
        }
        for env in list(Some(container), "envFrom") {
            if env.get("secretRef").is_some() {
                return Some("secrets");
            }
            if env.get("configMapRef").is_some() {
                return Some("configmaps");
            }
        }
    }
    if !string(spec, "serviceAccountName").is_empty() {
        return Some("serviceaccounts");
    }
    None
}

fn metadata(errors: &mut Errors, metadata: Option<&Value>) {
    let name = string(metadata, "name");
    for text in subdomain_problems(&name) {
        errors.invalid("metadata.name", &name, &text);
    }
    let namespace = string(metadata, "namespace");
    for text in label_problems(&namespace) {
        errors.invalid("metadata.namespace", &namespace, &text);
    }
    if let Some(labels) = metadata
        .and_then(|m| m.get("labels"))
        .and_then(Value::as_object)
    {
        for value in labels.values().filter_map(Value::as_str) {
            if !is_label_value(value) {
                errors.invalid("metadata.labels", value, LABEL_VALUE_TEXT);
            }
        }
    }
}

fn volumes(errors: &mut Errors, spec: Option<&Value>) -> HashSet<String> {
    let mut names = HashSet::new();
    for (index, volume) in list(spec, "volumes").enumerate() {
        let path = format!("spec.volumes[{index}]");
        let name = string(Some(volume), "name");
        let mut own = Errors(Vec::new());
        volume_source(&mut own, volume, &path);
        if name.is_empty() {
            own.required(&format!("{path}.name"));
        } else {
            for text in label_problems(&name) {
                own.invalid(&format!("{path}.name"), &name, &text);
            }
        }
        if names.contains(&name) {
            own.duplicate(&format!("{path}.name"), &name);
        }
        if own.0.is_empty() {
            names.insert(name);
        } else {
            errors.0.append(&mut own.0);
        }
    }
    names
}

fn volume_source(errors: &mut Errors, volume: &Value, path: &str) {
    let sources: Vec<&String> = volume
        .as_object()
        .map(|map| map.keys().filter(|key| *key != "name").collect())
        .unwrap_or_default();
    // The first source in the struct's order counts; emptyDir is looked at first.
    let mut seen = usize::from(volume.get("emptyDir").is_some());
    for source in sources.iter().filter(|s| **s != "emptyDir") {
        if seen > 0 {
            errors.forbidden(
                &format!("{path}.{source}"),
                "may not specify more than 1 volume type",
            );
            continue;
        }
        seen += 1;
        if *source == "hostPath" {
            let host_path = volume.get("hostPath");
            host_path_source(errors, host_path, &format!("{path}.hostPath"));
        }
    }
}

fn host_path_source(errors: &mut Errors, source: Option<&Value>, path: &str) {
    let host_path = string(source, "path");
    if host_path.is_empty() {
        errors.required(&format!("{path}.path"));
        return;
    }
    if has_backstep(&host_path) {
        errors.invalid(&format!("{path}.path"), &host_path, "must not contain '..'");
    }
    let kind = string(source, "type");
    let kinds = [
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    if !kinds.contains(&kind.as_str()) {
        errors.unsupported(&format!("{path}.type"), &kind, &kinds);
    }
}

fn has_backstep(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

fn containers(errors: &mut Errors, spec: Option<&Value>, volumes: &HashSet<String>) {
    if list(spec, "containers").next().is_none() {
        errors.required("spec.containers");
        return;
    }
    let mut names = HashSet::new();
    for (index, container) in list(spec, "containers").enumerate() {
        let path = format!("spec.containers[{index}]");
        container_common(errors, container, volumes, &path);
        let name = string(Some(container), "name");
        if !names.insert(name.clone()) {
            errors.duplicate(&format!("{path}.name"), &name);
        }
        handler::validate(errors, container, grace(spec), &path);
    }
}

fn init_containers(errors: &mut Errors, spec: Option<&Value>, volumes: &HashSet<String>) {
    let own = list(spec, "containers").map(|container| string(Some(container), "name"));
    let mut names: HashSet<String> = own.collect();
    for (index, container) in list(spec, "initContainers").enumerate() {
        let path = format!("spec.initContainers[{index}]");
        container_common(errors, container, volumes, &path);
        let name = string(Some(container), "name");
        if !name.is_empty() && !names.insert(name.clone()) {
            errors.duplicate(&format!("{path}.name"), &name);
        }
        if string(Some(container), "restartPolicy") == "Always" {
            handler::validate(errors, container, grace(spec), &path);
        } else {
            handler::forbid(errors, container, &path);
        }
    }
}

fn grace(spec: Option<&Value>) -> i64 {
    number(spec, "terminationGracePeriodSeconds").unwrap_or(30)
}

fn container_common(errors: &mut Errors, container: &Value, volumes: &HashSet<String>, path: &str) {
    let this = Some(container);
    let name = string(this, "name");
    if name.is_empty() {
        errors.required(&format!("{path}.name"));
    } else {
        for text in label_problems(&name) {
            errors.invalid(&format!("{path}.name"), &name, &text);
        }
    }
    let image = string(this, "image");
    if image.is_empty() {
        errors.required(&format!("{path}.image"));
    } else if image.trim() != image {
        let text = "must not have leading or trailing whitespace";
        errors.invalid(&format!("{path}.image"), &image, text);
    }
    let policy = string(this, "terminationMessagePolicy");
    let policies = ["File", "FallbackToLogsOnError"];
    if !policies.contains(&policy.as_str()) {
        errors.unsupported(
            &format!("{path}.terminationMessagePolicy"),
            &policy,
            &policies,
        );
    }
    ports(errors, container, &format!("{path}.ports"));
    environment(errors, container, &format!("{path}.env"));
    mounts(errors, container, volumes, &format!("{path}.volumeMounts"));
    let restart = string(this, "restartPolicy");
    let policies = ["Always", "OnFailure", "Never"];
    if container.get("restartPolicy").is_some() && !policies.contains(&restart.as_str()) {
        errors.unsupported(&format!("{path}.restartPolicy"), &restart, &policies);
    }
    let pull = string(this, "imagePullPolicy");
    let policies = ["Always", "IfNotPresent", "Never"];
    if !policies.contains(&pull.as_str()) {
        errors.unsupported(&format!("{path}.imagePullPolicy"), &pull, &policies);
    }
    resources(errors, container, &format!("{path}.resources"));
}

fn ports(errors: &mut Errors, container: &Value, path: &str) {
    let mut names = HashSet::new();
    for (index, port) in list(Some(container), "ports").enumerate() {
        let path = format!("{path}[{index}]");
        let name = string(Some(port), "name");
        if !name.is_empty() {
            let problems = port_name_problems(&name);
            if problems.is_empty() {
                if !names.insert(name.clone()) {
                    errors.duplicate(&format!("{path}.name"), &name);
                }
            } else {
                for text in problems {
                    errors.invalid(&format!("{path}.name"), &name, text);
                }
            }
        }
        let in_range = |n: i64| (1..=65535).contains(&n);
        let range = "must be between 1 and 65535, inclusive";
        let number_of = |field| number::<i64>(Some(port), field).unwrap_or(0);
        match number_of("containerPort") {
            0 => errors.required(&format!("{path}.containerPort")),
            n if !in_range(n) => errors.invalid_number(&format!("{path}.containerPort"), n, range),
            _ => {}
        }
        match number_of("hostPort") {
            0 => {}
            n if !in_range(n) => errors.invalid_number(&format!("{path}.hostPort"), n, range),
            _ => {}
        }
        let protocol = string(Some(port), "protocol");
        let protocols = ["SCTP", "TCP", "UDP"];
        if !protocols.contains(&protocol.as_str()) {
            errors.unsupported(&format!("{path}.protocol"), &protocol, &protocols);
        }
    }
}

fn environment(errors: &mut Errors, container: &Value, path: &str) {
    for (index, env) in list(Some(container), "env").enumerate() {
        let name = string(Some(env), "name");
        if name.is_empty() {
            errors.required(&format!("{path}[{index}].name"));
        }
        if env.get("valueFrom").is_some() && !string(Some(env), "value").is_empty() {
            errors.invalid(
                &format!("{path}[{index}].valueFrom"),
                "",
                "may not be specified when `value` is not empty",
            );
        }
    }
}

fn mounts(errors: &mut Errors, container: &Value, volumes: &HashSet<String>, path: &str) {
    let mut targets = HashSet::new();
    for (index, mount) in list(Some(container), "volumeMounts").enumerate() {
        let this = Some(mount);
        let at = format!("{path}[{index}]");
        let name = string(this, "name");
        if name.is_empty() {
            errors.required(&format!("{at}.name"));
        }
        if !volumes.contains(&name) {
            errors.not_found(&format!("{at}.name"), &name);
        }
        let target = string(this, "mountPath");
        if target.is_empty() {
            errors.required(&format!("{at}.mountPath"));
        }
        if !targets.insert(target.clone()) {
            errors.invalid(&format!("{at}.mountPath"), &target, "must be unique");
        }
        // The real code leaves the index out of these two paths.
        let sub_path = string(this, "subPath");
        descending(errors, &sub_path, &format!("{path}.subPath"));
        let expression = string(this, "subPathExpr");
        if !expression.is_empty() && !sub_path.is_empty() {
            errors.invalid(
                &format!("{path}.subPathExpr"),
                &expression,
                "subPathExpr and subPath are mutually exclusive",
            );
        }
        descending(errors, &expression, &format!("{path}.subPathExpr"));
        let propagation = string(this, "mountPropagation");
        let modes = ["Bidirectional", "HostToContainer", "None"];
        if !propagation.is_empty() && !modes.contains(&propagation.as_str()) {
            errors.unsupported(&format!("{path}.mountPropagation"), &propagation, &modes);
        }
    }
}

fn descending(errors: &mut Errors, target: &str, path: &str) {
    if target.starts_with('/') {
        errors.invalid(path, target, "must be a relative path");
    }
    if has_backstep(target) {
        errors.invalid(path, target, "must not contain '..'");
    }
}

fn resources(errors: &mut Errors, container: &Value, path: &str) {
    let resources = container.get("resources");
    for kind in ["limits", "requests"] {
        let Some(map) = resources
            .and_then(|r| r.get(kind))
            .and_then(Value::as_object)
        else {
            continue;
        };
        for (name, value) in map {
            let text = value.as_str().unwrap_or("");
            let at = format!("{path}.{kind}[{name}]");
            if text.starts_with('-') && is_quantity(text) {
                errors.invalid(&at, text, "must be greater than or equal to 0");
            }
            let known = ["cpu", "memory", "ephemeral-storage"].contains(&name.as_str())
                || name.starts_with("hugepages-")
                || name.contains('/');
            if !known {
                errors.invalid(
                    &at,
                    name,
                    "must be a standard resource type or fully qualified",
                );
            }
        }
    }
}

fn host_network_ports(errors: &mut Errors, spec: Option<&Value>) {
    if !flag(spec, "hostNetwork") {
        return;
    }
    for (index, container) in list(spec, "containers").enumerate() {
        for (number_of, port) in list(Some(container), "ports").enumerate() {
            let get = |field| number::<i64>(Some(port), field).unwrap_or(0);
            if get("hostPort") != get("containerPort") {
                errors.invalid_number(
                    &format!("spec.containers[{index}].ports[{number_of}].hostPort"),
                    get("hostPort"),
                    "must match `containerPort` when `hostNetwork` is true",
                );
            }
        }
    }
}

fn is_dns_label(text: &str) -> bool {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(ok) && text.ends_with(ok) && text.chars().all(|c| ok(c) || c == '-')
}

fn label_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > 63 {
        problems.push("must be no more than 63 bytes".to_owned());
    }
    if !is_dns_label(text) {
        problems.push(LABEL_TEXT.to_owned());
    }
    problems
}

fn subdomain_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > 253 {
        problems.push("must be no more than 253 bytes".to_owned());
    }
    if !text.split('.').all(is_dns_label) {
        problems.push(SUBDOMAIN_TEXT.to_owned());
    }
    problems
}

fn is_label_value(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.is_empty()
        || (text.len() <= 63
            && text.starts_with(edge)
            && text.ends_with(edge)
            && text.chars().all(|c| edge(c) || "-_.".contains(c)))
}

pub(super) fn port_name_problems(name: &str) -> Vec<&'static str> {
    let mut problems = Vec::new();
    if name.len() > 15 {
        problems.push("must be no more than 15 characters");
    }
    if !name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !name.chars().any(|c| c.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)");
    }
    if name.contains("--") {
        problems.push("must not contain consecutive hyphens");
    }
    if name.starts_with('-') || name.ends_with('-') {
        problems.push("must not begin or end with a hyphen");
    }
    problems
}
