//! Static-pod manifests as the kubelet reads them (`pkg/kubelet/config/{file,common}.go`):
//! non-strict decoding, defaults, validation, and the identity of the pod they describe.
//!
//! Pure: bytes in, a [`StaticPod`] or the kubelet's error text out.

mod defaults;
mod handler;
mod other;
pub mod path;
mod types;
mod validate;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The kubelet reads at most this much of a manifest (`maxConfigLength` in `file.go`).
pub const MAX_BYTES: u64 = 10 << 20;

/// A grace period that outlasts every lab: any number up to 2⁶³ - 1 seconds is valid, but no clock counts so far.
pub const LONGEST_GRACE: u64 = 10 * 366 * 24 * 3600;

/// A pod from a manifest file, decoded, defaulted and valid.
#[derive(Debug, Clone, PartialEq)]
pub struct StaticPod {
    /// Name as the API shows it: the manifest's name, a dash, the node's name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// UID: a hash of the decoded pod, the node name and the file's path. Comments, line ends and
    /// fields the kubelet does not know do not change it.
    pub uid: String,
    /// The whole pod: known fields only, defaults filled in, name with the node's suffix.
    pub value: Value,
    /// Containers that run before the others, in order; sidecars among them go on.
    pub init_containers: Vec<Container>,
    /// Containers, in order.
    pub containers: Vec<Container>,
    /// Volumes, in order.
    pub volumes: Vec<Volume>,
    /// Whether the pod shares the node's network.
    pub host_network: bool,
    /// Seconds between SIGTERM and SIGKILL; never more than [`LONGEST_GRACE`].
    pub grace_seconds: u64,
    /// `Always`, `OnFailure` or `Never`.
    pub restart_policy: String,
    /// Labels its node must have.
    pub node_selector: Vec<(String, String)>,
}

/// A container of a static pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// Name.
    pub name: String,
    /// Image reference as written.
    pub image: String,
    /// `command` of the manifest; empty when the image's own entry point runs.
    pub command: Vec<String>,
    /// `args` of the manifest.
    pub args: Vec<String>,
    /// Mounts, in order.
    pub mounts: Vec<VolumeMount>,
    /// Ports.
    pub ports: Vec<Port>,
    /// Liveness probe.
    pub liveness: Option<Probe>,
    /// Readiness probe.
    pub readiness: Option<Probe>,
    /// Startup probe.
    pub startup: Option<Probe>,
    /// `IfNotPresent`, `Always` or `Never`.
    pub pull_policy: String,
    /// Memory limit in bytes.
    pub memory_limit: Option<u64>,
    /// CPU request in thousandths of a core.
    pub cpu_request_milli: u64,
    /// Memory request in bytes.
    pub memory_request: u64,
    /// What its security context, or its pod's, says.
    pub security: Security,
    /// Variables with plain values, in order.
    pub env: Vec<(String, String)>,
    /// Its own `restartPolicy`, which counts more than the pod's; `Always` makes an init container
    /// a sidecar.
    pub restart_policy: Option<String>,
    /// `lifecycle.postStart`.
    pub post_start: Option<Hook>,
    /// `lifecycle.preStop`.
    pub pre_stop: Option<Hook>,
}

/// What happens right after a container started, or before it is ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// Something is asked, as by a probe.
    Action(ProbeAction),
    /// Nothing but these seconds pass.
    Sleep(u64),
}

/// The parts of a security context that decide which files a process can use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// `readOnlyRootFilesystem`.
    pub read_only_root: bool,
    /// `runAsUser`; `None` for the user of the image.
    pub user: Option<u32>,
    /// `runAsNonRoot`.
    pub non_root: bool,
}

impl Container {
    /// The command line of the process: `command` followed by `args`.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        let mut argv = self.command.clone();
        argv.extend(self.args.iter().cloned());
        argv
    }

    /// Whether an init container goes on beside the others.
    #[must_use]
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

/// A mount of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeMount {
    /// Name of the volume.
    pub volume: String,
    /// Path in the container.
    pub mount_path: String,
    /// Path within the volume; empty for its root.
    pub sub_path: String,
    /// The same with `$(NAME)` for variables of the container.
    pub sub_path_expr: String,
    /// Whether the container may not write.
    pub read_only: bool,
}

/// A volume of a static pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// Where it comes from.
    pub source: VolumeSource,
}

/// Where a volume comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// A path of the node.
    HostPath {
        /// The path.
        path: String,
        /// `""` (no check), `Directory`, `DirectoryOrCreate`, `File`, `FileOrCreate`, `Socket`...
        kind: String,
    },
    /// An empty directory that lives as long as the pod.
    EmptyDir,
    /// Any other source, by its field name (`configMap`, `secret`...).
    Other(String),
}

/// A port of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Name, may be empty.
    pub name: String,
    /// Port in the container.
    pub container_port: u16,
    /// Port on the node; 0 for none.
    pub host_port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

/// A probe of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub action: ProbeAction,
    /// Seconds from the start of the container to the first probe.
    pub initial_delay: u64,
    /// Seconds until a probe counts as failed.
    pub timeout: u64,
    /// Seconds between probes.
    pub period: u64,
    /// Successes in a row that make it healthy.
    pub success_threshold: u32,
    /// Failures in a row that make it unhealthy.
    pub failure_threshold: u32,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAction {
    /// An HTTP GET.
    Http {
        /// Host; empty for the pod's address.
        host: String,
        /// Port number or port name as written.
        port: String,
        /// Path and query.
        path: String,
        /// `HTTP` or `HTTPS`.
        scheme: String,
    },
    /// A TCP connection.
    Tcp {
        /// Host; empty for the pod's address.
        host: String,
        /// Port number or port name as written.
        port: String,
    },
    /// A command in the container.
    Exec(Vec<String>),
    /// A gRPC health check on this port.
    Grpc(u16),
}

/// Why the kubelet does not take a manifest; `Display` is its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not YAML, not a Pod, or a value of a wrong type.
    #[error("{path}: couldn't parse as pod({reason}), please check config file")]
    Decode {
        /// Path of the file.
        path: String,
        /// What the decoder said.
        reason: String,
    },
    /// Decoded, but not valid; one entry per field error, in the kubelet's order.
    #[error("invalid pod: [{}]", errors.join(" "))]
    Invalid {
        /// The field errors.
        errors: Vec<String>,
    },
    /// Valid, but not as a static pod.
    #[error("{0}")]
    Refused(String),
}

impl StaticPod {
    /// Reads the manifest at `path` (a path on the node) of node `node_name`.
    ///
    /// # Errors
    /// The kubelet's text.
    pub fn parse(path: &str, bytes: &[u8], node_name: &str) -> Result<Self, ManifestError> {
        let undecoded = |reason: String| ManifestError::Decode {
            path: path.to_owned(),
            reason,
        };
        let json = yaml_to_json(bytes).map_err(undecoded)?;
        check_kind(&json).map_err(undecoded)?;
        let mut pod = types::decode_pod(&json).map_err(undecoded)?;
        defaults::apply(&mut pod);
        let uid = match text(&pod, "/metadata/uid") {
            "" => content_uid(path, node_name, &pod),
            given => given.to_owned(),
        };
        place_on_node(&mut pod, node_name, &uid);
        let errors = validate::pod(&pod);
        if !errors.is_empty() {
            return Err(ManifestError::Invalid { errors });
        }
        if let Some(resource) = validate::api_reference(&pod) {
            return Err(ManifestError::Refused(format!(
                "static pods may not reference {resource}"
            )));
        }
        Ok(Self::from_value(pod, uid))
    }

    /// The container of this name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.all_containers().find(|c| c.name == name)
    }

    /// Init containers, then the others.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }

    /// The container at this place of [`StaticPod::all_containers`].
    #[must_use]
    pub fn nth_container(&self, number: usize) -> Option<&Container> {
        match number.checked_sub(self.init_containers.len()) {
            Some(number) => self.containers.get(number),
            None => self.init_containers.get(number),
        }
    }

    /// Whether a container is an init container that goes on beside the others.
    #[must_use]
    pub fn is_sidecar(&self, name: &str) -> bool {
        let own = self.init_containers.iter().find(|c| c.name == name);
        own.is_some_and(Container::is_sidecar)
    }

    /// The volume of this name.
    #[must_use]
    pub fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.iter().find(|v| v.name == name)
    }

    /// `NAMESPACE/NAME`, as the kubelet logs it.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn from_value(value: Value, uid: String) -> Self {
        let spec = value.get("spec");
        let of_pod = spec.and_then(|spec| spec.get("securityContext"));
        let containers = |field: &str| {
            let all = list(spec, field);
            all.map(|value| container(value, of_pod)).collect()
        };
        let (init_containers, containers) =
            (containers("initContainers"), containers("containers"));
        let node_selector = pairs(spec, "nodeSelector");
        let volumes = list(spec, "volumes").map(volume).collect();
        Self {
            name: text(&value, "/metadata/name").to_owned(),
            namespace: text(&value, "/metadata/namespace").to_owned(),
            uid,
            init_containers,
            containers,
            volumes,
            host_network: flag(spec, "hostNetwork"),
            grace_seconds: number(spec, "terminationGracePeriodSeconds")
                .unwrap_or(30)
                .min(LONGEST_GRACE),
            restart_policy: string(spec, "restartPolicy"),
            node_selector,
            value,
        }
    }
}

/// `runtime.Decode` finds the type first (`apimachinery/pkg/runtime/serializer/json/json.go`).
fn check_kind(json: &Value) -> Result<(), String> {
    const SCHEME: &str = "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30";
    const META: &str = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";
    let describe = |value: &Value| match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Null | Value::Object(_) => "object",
    };
    let wrong = |found: &Value, into: &str| {
        Err(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go {into}",
            describe(found)
        ))
    };
    let field = |name: &str, go_name: &str| match json.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => {
            wrong(other, &format!("struct field .{go_name} of type string")).map(|()| String::new())
        }
    };
    if !json.is_object() && !json.is_null() {
        return wrong(json, &format!("value of type {META}"));
    }
    let version = field("apiVersion", "apiVersion")?;
    let kind = field("kind", "kind")?;
    if kind.is_empty() {
        return Err(format!("Object 'Kind' is missing in '{}'", sorted(json)));
    }
    if version.is_empty() {
        return Err(format!(
            "Object 'apiVersion' is missing in '{}'",
            sorted(json)
        ));
    }
    if version.matches('/').count() > 1 {
        return Err(format!("unexpected GroupVersion string: {version}"));
    }
    if (version.as_str(), kind.as_str()) == ("v1", "Pod") {
        return Ok(());
    }
    let refusal = (version == "v1").then(|| other::refusal(&kind, json));
    if let Some(text) = refusal.flatten() {
        return Err(text);
    }
    Err(format!(
        "no kind \"{kind}\" is registered for version \"{version}\" in scheme \"{SCHEME}\""
    ))
}

/// JSON as Go prints a map: keys sorted, `<`, `>` and `&` escaped.
fn sorted(value: &Value) -> String {
    fn sort(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                Value::Object(
                    entries
                        .into_iter()
                        .map(|(k, v)| (k.clone(), sort(v)))
                        .collect(),
                )
            }
            Value::Array(items) => Value::Array(items.iter().map(sort).collect()),
            other => other.clone(),
        }
    }
    sort(value)
        .to_string()
        .replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}

fn yaml_to_json(bytes: &[u8]) -> Result<Value, String> {
    crate::yaml::to_json(bytes)
        .map(|document| document.value)
        .map_err(|error| error.to_string())
}

/// The UID the kubelet gives a pod without one (`applyDefaults` in `common.go`): the real one is
/// an MD5 over Go's memory layout, this one a SHA-256 over the canonical JSON, of the same length.
fn content_uid(path: &str, node_name: &str, pod: &Value) -> String {
    let mut hasher = Sha256::new();
    hasher.update(format!("host:{node_name}\0file:{path}\0"));
    hasher.update(sorted(pod));
    let mut out = String::with_capacity(32);
    for byte in hasher.finalize().iter().take(16) {
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

/// What the kubelet adds: name suffix, namespace, node name, the hash annotation, the toleration.
fn place_on_node(pod: &mut Value, node_name: &str, uid: &str) {
    let name = format!(
        "{}-{}",
        text(pod, "/metadata/name"),
        node_name.to_lowercase()
    );
    if let Some(metadata) = object(pod, "metadata") {
        metadata.insert("name".into(), Value::from(name));
        let namespace = metadata.get("namespace").and_then(Value::as_str);
        if namespace.unwrap_or("").is_empty() {
            metadata.insert("namespace".into(), Value::from("default"));
        }
        metadata.insert("uid".into(), Value::from(uid));
    }
    if let Some(annotations) = pod
        .get_mut("metadata")
        .and_then(|m| object(m, "annotations"))
    {
        annotations.insert("kubernetes.io/config.hash".into(), Value::from(uid));
        annotations.insert("kubernetes.io/config.source".into(), Value::from("file"));
    }
    if let Some(spec) = object(pod, "spec") {
        spec.insert("nodeName".into(), Value::from(node_name));
        let toleration = serde_json::json!({"operator": "Exists", "effect": "NoExecute"});
        let tolerations = spec
            .entry("tolerations")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Some(list) = tolerations.as_array_mut()
            && !list.contains(&toleration)
        {
            list.push(toleration);
        }
    }
}

/// The object at a field, made where there is none.
fn object<'a>(value: &'a mut Value, field: &str) -> Option<&'a mut serde_json::Map<String, Value>> {
    let entry = value.as_object_mut()?.entry(field);
    let inner = entry.or_insert_with(|| Value::Object(serde_json::Map::new()));
    if !inner.is_object() {
        *inner = Value::Object(serde_json::Map::new());
    }
    inner.as_object_mut()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn string(value: Option<&Value>, field: &str) -> String {
    let field = value.and_then(|v| v.get(field));
    field.and_then(Value::as_str).unwrap_or("").to_owned()
}

fn flag(value: Option<&Value>, field: &str) -> bool {
    value
        .and_then(|v| v.get(field))
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

fn number<T: TryFrom<i64>>(value: Option<&Value>, field: &str) -> Option<T> {
    let number = value.and_then(|v| v.get(field)).and_then(Value::as_i64)?;
    T::try_from(number).ok()
}

fn list<'a>(value: Option<&'a Value>, field: &str) -> impl Iterator<Item = &'a Value> {
    value
        .and_then(|v| v.get(field))
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

fn strings(value: &Value, field: &str) -> Vec<String> {
    list(Some(value), field)
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn pairs(value: Option<&Value>, field: &str) -> Vec<(String, String)> {
    let map = value.and_then(|v| v.get(field)).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned()))
        .collect()
}

/// A field of the container's security context counts more than one of the pod's.
fn security(container: &Value, of_pod: Option<&Value>) -> Security {
    let own = container.get("securityContext");
    let has = |field: &str| {
        [own, of_pod]
            .into_iter()
            .flatten()
            .find_map(|c| c.get(field))
    };
    Security {
        read_only_root: flag(own, "readOnlyRootFilesystem"),
        user: has("runAsUser")
            .and_then(Value::as_u64)
            .and_then(|user| u32::try_from(user).ok()),
        non_root: has("runAsNonRoot")
            .and_then(Value::as_bool)
            .unwrap_or(false),
    }
}

fn container(value: &Value, of_pod: Option<&Value>) -> Container {
    let this = Some(value);
    Container {
        name: string(this, "name"),
        image: string(this, "image"),
        command: strings(value, "command"),
        args: strings(value, "args"),
        mounts: list(this, "volumeMounts")
            .map(|mount| VolumeMount {
                volume: string(Some(mount), "name"),
                mount_path: string(Some(mount), "mountPath"),
                sub_path: string(Some(mount), "subPath"),
                sub_path_expr: string(Some(mount), "subPathExpr"),
                read_only: flag(Some(mount), "readOnly"),
            })
            .collect(),
        ports: list(this, "ports")
            .map(|port| Port {
                name: string(Some(port), "name"),
                container_port: number(Some(port), "containerPort").unwrap_or(0),
                host_port: number(Some(port), "hostPort").unwrap_or(0),
                protocol: string(Some(port), "protocol"),
            })
            .collect(),
        liveness: value.get("livenessProbe").and_then(probe),
        readiness: value.get("readinessProbe").and_then(probe),
        startup: value.get("startupProbe").and_then(probe),
        pull_policy: string(this, "imagePullPolicy"),
        memory_limit: quantity(value, "/resources/limits/memory").map(|q| q / 1000),
        cpu_request_milli: quantity(value, "/resources/requests/cpu").unwrap_or(0),
        memory_request: quantity(value, "/resources/requests/memory").map_or(0, |q| q / 1000),
        security: security(value, of_pod),
        env: list(this, "env")
            .map(|env| (string(Some(env), "name"), string(Some(env), "value")))
            .collect(),
        restart_policy: Some(string(this, "restartPolicy")).filter(|policy| !policy.is_empty()),
        post_start: value.pointer("/lifecycle/postStart").and_then(hook),
        pre_stop: value.pointer("/lifecycle/preStop").and_then(hook),
    }
}

fn volume(value: &Value) -> Volume {
    let source = match value.get("hostPath") {
        Some(path) => VolumeSource::HostPath {
            path: string(Some(path), "path"),
            kind: string(Some(path), "type"),
        },
        None => {
            let keys = value
                .as_object()
                .map(|map| map.keys().filter(|k| *k != "name"));
            match keys.and_then(|mut keys| keys.next()) {
                Some(other) if other != "emptyDir" => VolumeSource::Other(other.clone()),
                _ => VolumeSource::EmptyDir,
            }
        }
    };
    Volume {
        name: string(Some(value), "name"),
        source,
    }
}

/// What a probe or a hook asks.
fn action(value: &Value) -> Option<ProbeAction> {
    let port = |action: &Value| match action.get("port") {
        Some(Value::String(name)) => name.clone(),
        Some(other) => other.to_string(),
        None => "0".to_owned(),
    };
    Some(if let Some(http) = value.get("httpGet") {
        ProbeAction::Http {
            host: string(Some(http), "host"),
            port: port(http),
            path: string(Some(http), "path"),
            scheme: string(Some(http), "scheme"),
        }
    } else if let Some(tcp) = value.get("tcpSocket") {
        ProbeAction::Tcp {
            host: string(Some(tcp), "host"),
            port: port(tcp),
        }
    } else if let Some(exec) = value.get("exec") {
        ProbeAction::Exec(strings(exec, "command"))
    } else {
        ProbeAction::Grpc(number(value.get("grpc"), "port")?)
    })
}

fn hook(value: &Value) -> Option<Hook> {
    if let Some(sleep) = value.get("sleep") {
        let seconds = number(Some(sleep), "seconds").unwrap_or(0);
        return Some(Hook::Sleep(seconds));
    }
    action(value).map(Hook::Action)
}

fn probe(value: &Value) -> Option<Probe> {
    let this = Some(value);
    Some(Probe {
        action: action(value)?,
        initial_delay: number(this, "initialDelaySeconds").unwrap_or(0),
        timeout: number(this, "timeoutSeconds").unwrap_or(1),
        period: number(this, "periodSeconds").unwrap_or(10),
        success_threshold: number(this, "successThreshold").unwrap_or(1),
        failure_threshold: number(this, "failureThreshold").unwrap_or(3),
    })
}

/// A quantity in thousandths.
fn quantity(value: &Value, pointer: &str) -> Option<u64> {
    let text = value.pointer(pointer)?.as_str()?;
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(split)?;
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "m" => 0.001,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates, which is right for a limit"
    )]
    let milli = (number * factor * 1000.0) as u64;
    Some(milli)
}

#[cfg(test)]
mod tests;
