//! The API server's pod as its manifest describes it: command line, volumes and mounts.

use serde_json::Value;

use super::argv::{base, below, clean};
use crate::manifest::{StaticPod, VolumeSource};
use crate::scenario::setup::MANIFEST;

/// The API server's pod, as far as grading looks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ApiServerPod {
    /// `command` and `args` of the API server's container.
    pub argv: Vec<String>,
    /// Mounts of that container.
    pub mounts: Vec<Mount>,
    /// Volumes of the pod.
    pub volumes: Vec<Volume>,
    /// The whole pod, defaults filled in.
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
    /// Reads the API server's manifest, as the kubelet of this node does.
    ///
    /// # Errors
    /// The kubelet's own text, or that there is no API server in it.
    pub fn read(manifest: &[u8], node_name: &str) -> Result<Self, String> {
        let pod =
            StaticPod::parse(MANIFEST, manifest, node_name).map_err(|error| error.to_string())?;
        let container = pod
            .container("kube-apiserver")
            .or_else(|| {
                pod.containers.iter().find(|container| {
                    container
                        .command
                        .first()
                        .is_some_and(|program| base(program) == "kube-apiserver")
                })
            })
            .ok_or("it is no pod with a container `kube-apiserver`")?;
        let mounts = container
            .mounts
            .iter()
            .map(|mount| Mount {
                name: mount.volume.clone(),
                path: mount.mount_path.clone(),
                read_only: mount.read_only,
                sub_path: mount.sub_path.clone(),
            })
            .collect();
        let volumes = pod
            .volumes
            .iter()
            .map(|volume| {
                let (host_path, kind) = match &volume.source {
                    VolumeSource::HostPath { path, kind } => (Some(path.clone()), kind.clone()),
                    _ => (None, String::new()),
                };
                Volume {
                    name: volume.name.clone(),
                    host_path,
                    kind,
                }
            })
            .collect();
        Ok(Self {
            argv: container.argv(),
            mounts,
            volumes,
            value: pod.value,
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

    /// A mount through which the container may write to a path of the node.
    #[must_use]
    pub fn writable(&self, path: &str) -> Option<&Mount> {
        self.mounts.iter().find(|mount| {
            let volume = self.volumes.iter().find(|volume| volume.name == mount.name);
            let host = volume.and_then(|volume| volume.host_path.as_deref());
            !mount.read_only
                && host.is_some_and(|host| {
                    let root = clean(&format!("{host}/{}", mount.sub_path));
                    below(path, &root).is_some()
                })
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> ApiServerPod {
        ApiServerPod::read(
            br#"
apiVersion: v1
kind: Pod
metadata: {name: kube-apiserver}
spec:
  containers:
  - name: kube-apiserver
    image: registry.k8s.io/kube-apiserver:v1.35.0
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
            "controlplane",
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
    fn a_path_is_writable_through_any_mount_that_holds_it() {
        let pod = pod();
        assert!(pod.writable("/root/p.yaml").is_none());
        assert!(pod.writable("/srv").is_none());
        let mount = pod.writable("/srv/audit/q.yaml");
        assert_eq!(mount.map(|mount| mount.name.as_str()), Some("dir"));
    }

    #[test]
    fn what_the_kubelet_refuses_is_told_in_its_words() {
        let read = |text: &[u8]| ApiServerPod::read(text, "controlplane").unwrap_err();
        let text = b"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: kube-apiserver, image: i, volumeMounts: [{name: x, mountPath: /x}]}]}}";
        assert_eq!(
            read(text),
            "invalid pod: [spec.containers[0].volumeMounts[0].name: Not found: \"x\"]"
        );
        for bytes in [&b"\x00\xff\xfe random \x80"[..], b"spec: [", b"kind: Pod\n"] {
            assert_eq!(
                read(bytes),
                StaticPod::parse(MANIFEST, bytes, "controlplane")
                    .unwrap_err()
                    .to_string()
            );
        }
    }
}
