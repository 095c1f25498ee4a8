//! `crictl inspect`, `inspectp` and `info`.

use serde_json::{Value, json};

use super::flags::Given;
use super::output::{self, ago};
use super::{Done, Failed, Level, Runtime, fatal, list, log, objects, pod_by_id};
use crate::node::embedded::snapshot::{ContainerSnapshot, ContainerState, PodSnapshot, Sandbox};
use crate::yaml::go::quote;

/// `inspect`.
pub(super) fn containers(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    let snapshot = runtime.connect(true)?;
    let mut ids = given.arguments.clone();
    if ids.is_empty() {
        let found = list::find_containers(&snapshot, given)?;
        ids = found.into_iter().map(|c| c.id).collect();
    }
    if ids.is_empty() {
        log(
            runtime.tool,
            Level::Error,
            "No IDs provided or nothing found per filter",
        )?;
        return Err(Failed::Help);
    }
    let format = given.get("output").unwrap_or("json");
    let mut values = Vec::new();
    for id in ids {
        let container = runtime.container(&snapshot, &id).map_err(|e| {
            Failed::Fatal(format!(
                "get the status of containers: get container status: {e}"
            ))
        })?;
        if format == "table" {
            container_table(runtime, &container)?;
            continue;
        }
        let mut value = objects::container(&container, &snapshot);
        if given.has("quiet")
            && let Some(object) = value.as_object_mut()
        {
            object.shift_remove("info");
        }
        values.push(value);
    }
    print(runtime, given, values, "get the status of containers")
}

fn print(runtime: &mut Runtime<'_, '_>, given: &Given, mut values: Vec<Value>, what: &str) -> Done {
    let value = match values.len() {
        0 => return Ok(()),
        1 => values.remove(0),
        _ => Value::Array(values),
    };
    let format = given.get("output").unwrap_or("json").to_owned();
    output::value(
        runtime,
        &output::sorted(&value),
        &format,
        given.get("template"),
    )
    .map_err(|e| match e {
        Failed::Fatal(text) => Failed::Fatal(format!("{what}: {text}")),
        other => other,
    })
}

fn container_table(runtime: &mut Runtime<'_, '_>, container: &ContainerSnapshot) -> Done {
    let out = &mut runtime.tool.out;
    writeln!(out, "ID: {}", container.id)?;
    writeln!(out, "Name: {}", container.name)?;
    if container.attempt != 0 {
        writeln!(out, "Attempt: {}", container.attempt)?;
    }
    writeln!(out, "State: {}", objects::state(container.state))?;
    writeln!(out, "Created: {}", ago(container.created))?;
    if let Some(started) = container.started {
        writeln!(out, "Started: {}", ago(started))?;
    }
    if container.state == ContainerState::Exited {
        if let Some(finished) = container.finished {
            writeln!(out, "Finished: {}", ago(finished))?;
        }
        writeln!(out, "Exit Code: {}", container.exit_code.unwrap_or(0))?;
    }
    list::pairs(runtime, "Labels", &objects::labels(container))?;
    list::pairs(runtime, "Annotations", &objects::annotations(container))
}

/// `inspectp`.
pub(super) fn pods(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    let snapshot = runtime.connect(false)?;
    let mut ids = given.arguments.clone();
    if ids.is_empty() {
        let found = list::find_pods(&snapshot, given)?;
        ids = found.into_iter().map(|(_, sandbox)| sandbox.id).collect();
    }
    if ids.is_empty() {
        log(
            runtime.tool,
            Level::Error,
            "No IDs provided or nothing found per filter",
        )?;
        return Err(Failed::Help);
    }
    let format = given.get("output").unwrap_or("json");
    let mut values = Vec::new();
    for id in ids {
        let (pod, sandbox) = pod_by_id(&snapshot, &id).map_err(|e| {
            Failed::Fatal(format!(
                "get the status of pod sandboxes: get pod sandbox status: {e}"
            ))
        })?;
        if format == "table" {
            pod_table(runtime, pod, sandbox)?;
            continue;
        }
        let mut value = objects::pod(pod, sandbox);
        if given.has("quiet")
            && let Some(object) = value.as_object_mut()
        {
            object.shift_remove("info");
        }
        values.push(value);
    }
    print(runtime, given, values, "get the status of pod sandboxes")
}

fn pod_table(runtime: &mut Runtime<'_, '_>, pod: &PodSnapshot, sandbox: &Sandbox) -> Done {
    let out = &mut runtime.tool.out;
    writeln!(out, "ID: {}", sandbox.id)?;
    writeln!(out, "Name: {}", pod.name)?;
    writeln!(out, "UID: {}", pod.uid)?;
    writeln!(out, "Namespace: {}", pod.namespace)?;
    writeln!(out, "Attempt: {}", sandbox.attempt)?;
    let state = if sandbox.ready {
        "SANDBOX_READY"
    } else {
        "SANDBOX_NOTREADY"
    };
    writeln!(out, "Status: {state}")?;
    writeln!(out, "Created: {}", objects::go_time(sandbox.created))?;
    writeln!(out, "IP Addresses: {}", objects::address(pod))?;
    list::pairs(runtime, "Labels", &objects::pod_labels(pod))?;
    list::pairs(runtime, "Annotations", &objects::pod_annotations(pod))
}

/// `info`.
pub(super) fn info(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    if !given.arguments.is_empty() {
        return Err(Failed::Help);
    }
    runtime.connect(false)?;
    let mut value = json!({
        "features": {"supplemental_groups_policy": true},
        "runtimeHandlers": [
            {"features": {"recursive_read_only_mounts": true, "user_namespaces": true}},
            {"features": {"recursive_read_only_mounts": true, "user_namespaces": true}, "name": "runc"},
        ],
        "status": {"conditions": [
            {"message": "", "reason": "", "status": true, "type": "RuntimeReady"},
            {"message": "", "reason": "", "status": true, "type": "NetworkReady"},
            {"message": "", "reason": "", "status": true, "type": "ContainerdHasNoDeprecationWarnings"},
        ]},
    });
    if !given.has("quiet")
        && let Some(object) = value.as_object_mut()
    {
        object.insert("config".into(), json!({
            "cni": {"binDirs": ["/opt/cni/bin"], "confDir": "/etc/cni/net.d", "maxConfNum": 1},
            "containerd": {"defaultRuntimeName": "runc", "runtimes": {"runc": {
                "options": {"SystemdCgroup": true}, "runtimeType": "io.containerd.runc.v2", "snapshotter": ""}}},
            "containerdEndpoint": "/run/containerd/containerd.sock",
            "containerdRootDir": "/var/lib/containerd",
            "enableCDI": true,
            "maxContainerLogLineSize": 16384,
            "rootDir": "/var/lib/containerd/io.containerd.grpc.v1.cri",
            "stateDir": "/run/containerd/io.containerd.grpc.v1.cri",
        }));
        object.insert("golang".into(), json!("go1.24.5"));
        object.insert("lastCNILoadStatus".into(), json!("OK"));
        object.insert("lastCNILoadStatus.default".into(), json!("OK"));
    }
    let format = given.get("output").unwrap_or("json").to_owned();
    if !["json", "yaml", "go-template"].contains(&format.as_str()) {
        return fatal(format!(
            "getting status of runtime: unsupported format: {}",
            quote(&format)
        ));
    }
    output::value(
        runtime,
        &output::sorted(&value),
        &format,
        given.get("template"),
    )
}
