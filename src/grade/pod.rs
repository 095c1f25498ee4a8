//! The API server's pod as its manifest describes it: command line, volumes and mounts.

use serde_json::Value;

use super::argv::{below, clean};

/// The API server's pod, as far as grading looks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ApiServerPod {
    /// `command` and `args` of the API server's container.
    pub argv: Vec<String>,
    /// Mounts of that container.
    pub mounts: Vec<Mount>,
    /// Volumes of the pod.
    pub volumes: Vec<Volume>,
    /// The whole manifest.
    pub value: Value,
}

/// A volume mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Name of the volume.
    pub name: String,
    /// Path in the container.
    pub path: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Path within the volume.
    pub sub_path: String,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// Path on the node, for a hostPath volume.
    pub host_path: Option<String>,
    /// hostPath type.
    pub kind: String,
}

/// Where a path in the container leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// No mount covers it: it stays in the container.
    Container,
    /// A mount whose volume does not exist or is not on the node.
    NotOnNode(&'a Mount),
    /// A path on the node.
    Node {
        /// That path.
        path: String,
        /// The mount.
        mount: &'a Mount,
        /// Whether the file itself is mounted, not a directory above it.
        file_itself: bool,
    },
}

impl ApiServerPod {
    /// Reads a manifest that is a pod with an API server in it.
    ///
    /// # Errors
    /// What the kubelet would say, as far as it concerns the API server.
    pub fn read(text: &str) -> Result<Self, String> {
        let value: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        let spec = member(&value, "spec");
        let containers = spec["containers"].as_array().cloned().unwrap_or_default();
        let container = containers
            .iter()
            .find(|container| member(container, "name") == "kube-apiserver")
            .or_else(|| {
                containers.iter().find(|container| {
                    command(container)
                        .first()
                        .is_some_and(|c| c.ends_with("kube-apiserver"))
                })
            })
            .ok_or("it is no pod with a container `kube-apiserver`")?;
        let mounts: Vec<Mount> = list(member(container, "volumeMounts"))
            .iter()
            .map(|mount| Mount {
                name: string(member(mount, "name")),
                path: string(member(mount, "mountPath")),
                read_only: member(mount, "readOnly") == true,
                sub_path: string(member(mount, "subPath")),
            })
            .collect();
        let volumes: Vec<Volume> = list(member(spec, "volumes"))
            .iter()
            .map(|volume| Volume {
                name: string(member(volume, "name")),
                host_path: member(member(volume, "hostPath"), "path")
                    .as_str()
                    .map(str::to_owned),
                kind: string(member(member(volume, "hostPath"), "type")),
            })
            .collect();
        for (index, mount) in mounts.iter().enumerate() {
            if volumes.iter().all(|volume| volume.name != mount.name) {
                return Err(format!(
                    "spec.containers[0].volumeMounts[{index}].name: Not found: \"{}\"",
                    mount.name
                ));
            }
        }
        Ok(Self {
            argv: command(container),
            mounts,
            volumes,
            value,
        })
    }

    /// Where a path of the container leads: the longest mount path decides.
    #[must_use]
    pub fn target(&self, path: &str) -> Target<'_> {
        let covering = self
            .mounts
            .iter()
            .filter_map(|mount| below(path, &mount.path).map(|rest| (mount, rest)))
            .max_by_key(|(mount, _)| clean(&mount.path).len());
        let Some((mount, rest)) = covering else {
            return Target::Container;
        };
        let host = self
            .volumes
            .iter()
            .find(|volume| volume.name == mount.name)
            .and_then(|volume| volume.host_path.as_deref());
        match host {
            None => Target::NotOnNode(mount),
            Some(host) => Target::Node {
                path: clean(&format!("{host}/{}/{rest}", mount.sub_path)),
                mount,
                file_itself: rest.is_empty(),
            },
        }
    }

    /// Volumes that hold a path of the node.
    pub fn volumes_of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Volume> {
        self.volumes.iter().filter(move |volume| {
            volume
                .host_path
                .as_deref()
                .is_some_and(|path| below(host, path).is_some())
        })
    }
}

fn command(container: &Value) -> Vec<String> {
    list(member(container, "command"))
        .iter()
        .chain(list(member(container, "args")).iter())
        .map(|item| match item {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect()
}

/// A field; null where there is none.
fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> ApiServerPod {
        ApiServerPod::read(
            r#"
spec:
  containers:
  - name: kube-apiserver
    command: [kube-apiserver, --a=1]
    volumeMounts:
    - {name: dir, mountPath: /etc/audit/}
    - {name: file, mountPath: /etc/audit/p.yaml, readOnly: true}
    - {name: other, mountPath: /scratch}
  volumes:
  - {name: dir, hostPath: {path: /srv/audit}}
  - {name: file, hostPath: {path: /root/p.yaml, type: File}}
  - {name: other, emptyDir: {}}
"#,
        )
        .unwrap()
    }

    #[test]
    fn the_longest_mount_decides() {
        let pod = pod();
        assert!(matches!(
            pod.target("/etc/audit/p.yaml"),
            Target::Node { path, file_itself: true, .. } if path == "/root/p.yaml"
        ));
        assert!(matches!(
            pod.target("/etc/audit/q.yaml"),
            Target::Node { path, file_itself: false, .. } if path == "/srv/audit/q.yaml"
        ));
        assert!(matches!(pod.target("/scratch/x"), Target::NotOnNode(_)));
        assert!(matches!(pod.target("/var/log"), Target::Container));
    }

    #[test]
    fn a_mount_without_volume_is_what_the_kubelet_refuses() {
        let text = "spec: {containers: [{name: kube-apiserver, volumeMounts: [{name: x, mountPath: /x}]}]}";
        assert_eq!(
            ApiServerPod::read(text).unwrap_err(),
            "spec.containers[0].volumeMounts[0].name: Not found: \"x\""
        );
    }
}
