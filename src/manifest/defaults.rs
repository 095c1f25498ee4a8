//! Defaults of a pod (`pkg/apis/core/v1/defaults.go`), as far as the node can tell the difference.

use serde_json::{Map, Value, json};

/// Fills in what the API's defaulting fills in.
pub(super) fn apply(pod: &mut Value) {
    let Some(pod) = pod.as_object_mut() else {
        return;
    };
    pod.entry("apiVersion").or_insert_with(|| json!("v1"));
    pod.entry("kind").or_insert_with(|| json!("Pod"));
    let Some(spec) = child(pod, "spec") else {
        return;
    };
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool) == Some(true);
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "restartPolicy", "Always");
    default(spec, "schedulerName", "default-scheduler");
    spec.entry("terminationGracePeriodSeconds")
        .or_insert_with(|| json!(30));
    spec.entry("securityContext").or_insert_with(|| json!({}));
    spec.entry("enableServiceLinks")
        .or_insert_with(|| json!(true));
    for volume in objects(spec, "volumes") {
        default_volume(volume);
    }
    for kind in ["initContainers", "containers"] {
        for container in objects(spec, kind) {
            default_container(container, host_network);
        }
    }
}

fn default_volume(volume: &mut Map<String, Value>) {
    // A volume without any source is an emptyDir; so is one whose source was an unknown field.
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".into(), json!({}));
    }
    if let Some(host_path) = child(volume, "hostPath") {
        host_path.entry("type").or_insert_with(|| json!(""));
    }
}

fn default_container(container: &mut Map<String, Value>, host_network: bool) {
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    if container
        .get("imagePullPolicy")
        .and_then(Value::as_str)
        .unwrap_or("")
        .is_empty()
    {
        let image = container.get("image").and_then(Value::as_str).unwrap_or("");
        let policy = if is_latest(image) {
            "Always"
        } else {
            "IfNotPresent"
        };
        container.insert("imagePullPolicy".into(), json!(policy));
    }
    container.entry("resources").or_insert_with(|| json!({}));
    if let Some(resources) = child(container, "resources")
        && let Some(Value::Object(limits)) = resources.get("limits").cloned()
    {
        // A limit without a request is the request too.
        let requests = resources.entry("requests").or_insert_with(|| json!({}));
        if let Some(requests) = requests.as_object_mut() {
            for (name, limit) in limits {
                requests.entry(name).or_insert(limit);
            }
        }
    }
    for port in objects(container, "ports") {
        default(port, "protocol", "TCP");
        if host_network
            && port.get("hostPort").and_then(Value::as_i64).unwrap_or(0) == 0
            && let Some(number) = port.get("containerPort").cloned()
        {
            port.insert("hostPort".into(), number);
        }
    }
    if let Some(lifecycle) = child(container, "lifecycle") {
        for kind in ["postStart", "preStop"] {
            if let Some(hook) = child(lifecycle, kind)
                && let Some(http) = child(hook, "httpGet")
            {
                default(http, "path", "/");
                default(http, "scheme", "HTTP");
            }
        }
    }
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = child(container, kind) {
            for (field, value) in [
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ] {
                if probe.get(field).and_then(Value::as_i64).unwrap_or(0) == 0 {
                    probe.insert(field.into(), json!(value));
                }
            }
            if let Some(http) = child(probe, "httpGet") {
                default(http, "path", "/");
                default(http, "scheme", "HTTP");
            }
        }
    }
}

/// Whether an image has the tag `latest`, or none and no digest.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.rsplit_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn default(map: &mut Map<String, Value>, field: &str, value: &str) {
    if map
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or("")
        .is_empty()
    {
        map.insert(field.to_owned(), json!(value));
    }
}

fn child<'a>(map: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    map.get_mut(field).and_then(Value::as_object_mut)
}

fn objects<'a>(
    map: &'a mut Map<String, Value>,
    field: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    map.get_mut(field)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}
