//! What the node says of its API server: processes, containers, manifests, journal. Parsing only.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::manifest::{Container, StaticPod, VolumeSource};

/// One look at the node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// The node's clock, seconds since 1970.
    pub now: f64,
    /// Whether the kubelet runs.
    pub kubelet: bool,
    /// When a name in the manifests directory last changed.
    pub directory: f64,
    /// Processes of the name `kube-apiserver`.
    pub processes: Vec<Process>,
    /// Manifests that the kubelet reads.
    pub manifests: Vec<Manifest>,
    /// Pod sandboxes that belong to an API server, newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Containers that are an API server, newest first.
    pub containers: Vec<CriContainer>,
    /// Lines of the kubelet's journal about it, with their times.
    pub journal: Vec<(f64, String)>,
    /// HTTP status of `/readyz`, asked on the node without credentials as the kubelet asks; 0 for none.
    pub ready: u16,
}

/// A process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Its id, as the node counts.
    pub pid: u32,
    /// When it started, in ticks since the machine did.
    pub started: u64,
    /// Its command line.
    pub argv: Vec<String>,
    /// Its control groups.
    pub cgroup: String,
}

/// A visible file of the manifests directory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifest {
    /// Name.
    pub name: String,
    /// When it was last changed, in any way.
    pub changed: f64,
    /// Content.
    pub content: Vec<u8>,
}

/// A pod sandbox of the runtime.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sandbox {
    /// Its id.
    pub id: String,
    /// When it was made.
    pub created: f64,
    /// Uid of its pod.
    pub uid: String,
    /// Whether it is ready.
    pub ready: bool,
}

/// A container of the runtime.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CriContainer {
    /// Its id.
    pub id: String,
    /// The sandbox it is in.
    pub sandbox: String,
    /// When it was made.
    pub created: f64,
    /// Its state as the runtime names it, `CONTAINER_RUNNING`.
    pub state: String,
    /// How often it was restarted within its pod.
    pub restarts: u32,
}

impl CriContainer {
    /// Whether it runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.state == "CONTAINER_RUNNING"
    }
}

/// What `crictl inspect` says of one container, and its log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Detail {
    /// Its state as the runtime names it, `CONTAINER_RUNNING`; empty when it knows no such container.
    pub state: String,
    /// Exit code, of one that ended.
    pub exit_code: Option<i32>,
    /// When it ended, seconds since 1970; 0 for one that did not.
    pub finished: f64,
    /// `Error`, `Completed`, `OOMKilled`.
    pub reason: Option<String>,
    /// What goes with it.
    pub message: Option<String>,
    /// Its command line; empty where the runtime does not tell.
    pub argv: Vec<String>,
    /// Pairs of path in the container and path on the node.
    pub mounts: Vec<(String, String)>,
    /// Last lines of its log.
    pub log_tail: Vec<String>,
}

/// The parts of an answer: a line with name and size, then that many bytes and a line break.
fn parts(mut bytes: &[u8]) -> BTreeMap<String, &[u8]> {
    let mut parts = BTreeMap::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let (head, rest) = bytes.split_at(end);
        let head = String::from_utf8_lossy(head);
        let Some((name, size)) = head.split_once(' ') else {
            break;
        };
        let Ok(size) = size.parse::<usize>() else {
            break;
        };
        let rest = rest.get(1..).unwrap_or_default();
        let Some(content) = rest.get(..size) else {
            break;
        };
        parts.insert(name.to_owned(), content);
        bytes = rest.get(size + 1..).unwrap_or_default();
    }
    parts
}

fn decoded(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_default()
}

fn words(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_suffix('\0').unwrap_or(&text);
    if text.is_empty() {
        return Vec::new();
    }
    text.split('\0').map(str::to_owned).collect()
}

/// Nanoseconds since 1970, as a number or a text, in seconds.
fn nanoseconds(value: Option<&Value>) -> f64 {
    let number = match value {
        Some(Value::String(text)) => text.parse().unwrap_or(0.0),
        Some(Value::Number(number)) => number.as_f64().unwrap_or(0.0),
        _ => 0.0,
    };
    number / 1e9
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// Whether labels and names say that it is an API server.
fn is_api_server(value: &Value) -> bool {
    let label = |name: &str| {
        let labels = value.get("labels").and_then(|labels| labels.get(name));
        labels.and_then(Value::as_str).unwrap_or("")
    };
    text(value, "/metadata/name") == "kube-apiserver"
        || text(value, "/metadata/name").starts_with("kube-apiserver-")
        || label("component") == "kube-apiserver"
        || label("io.kubernetes.pod.name").starts_with("kube-apiserver-")
        || text(value, "/image/image").contains("/kube-apiserver")
}

impl Look {
    /// Reads the answer of `n_look`.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let parts = parts(bytes);
        let part = |name: &str| parts.get(name).copied().unwrap_or_default();
        let json = |name: &str| serde_json::from_slice::<Value>(part(name)).unwrap_or_default();
        let mut look = Self::default();
        look.facts(&String::from_utf8_lossy(part("facts")));
        let pods = json("pods");
        let items = pods.get("items").and_then(Value::as_array);
        for pod in items.into_iter().flatten().filter(|pod| is_api_server(pod)) {
            look.sandboxes.push(Sandbox {
                id: text(pod, "/id").to_owned(),
                created: nanoseconds(pod.get("createdAt")),
                uid: text(pod, "/metadata/uid").to_owned(),
                ready: text(pod, "/state") == "SANDBOX_READY",
            });
        }
        look.sandboxes
            .sort_by(|a, b| b.created.total_cmp(&a.created));
        let containers = json("containers");
        let items = containers.get("containers").and_then(Value::as_array);
        for container in items.into_iter().flatten() {
            let sandbox = text(container, "/podSandboxId");
            let of_ours = look.sandboxes.iter().any(|other| other.id == sandbox);
            if !of_ours && !is_api_server(container) {
                continue;
            }
            let attempt = container.pointer("/metadata/attempt");
            let restarts = container
                .get("annotations")
                .and_then(|all| all.get("io.kubernetes.container.restartCount"))
                .and_then(Value::as_str)
                .and_then(|count| count.parse().ok());
            look.containers.push(CriContainer {
                id: text(container, "/id").to_owned(),
                sandbox: sandbox.to_owned(),
                created: nanoseconds(container.get("createdAt")),
                state: text(container, "/state").to_owned(),
                restarts: restarts
                    .or_else(|| u32::try_from(attempt?.as_u64()?).ok())
                    .unwrap_or(0),
            });
        }
        look.containers
            .sort_by(|a, b| b.created.total_cmp(&a.created));
        for line in String::from_utf8_lossy(part("journal")).lines() {
            let (time, rest) = line.split_once(' ').unwrap_or(("", line));
            look.journal
                .push((time.parse().unwrap_or(0.0), rest.to_owned()));
        }
        look.ready = String::from_utf8_lossy(part("ready"))
            .trim()
            .parse()
            .unwrap_or(0);
        look
    }

    fn facts(&mut self, lines: &str) {
        for line in lines.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["now", time] => self.now = time.parse().unwrap_or(0.0),
                ["kubelet", state] => self.kubelet = *state == "active",
                ["directory", time] => self.directory = time.parse().unwrap_or(0.0),
                ["process", pid, started, argv, cgroup] => {
                    let (Ok(pid), Ok(started)) = (pid.parse(), started.parse()) else {
                        continue;
                    };
                    let argv = self::words(&decoded(argv));
                    // One that is ending has no command line any more.
                    if !argv.is_empty() {
                        self.processes.push(Process {
                            pid,
                            started,
                            argv,
                            cgroup: String::from_utf8_lossy(&decoded(cgroup)).into_owned(),
                        });
                    }
                }
                ["manifest", changed, name, content] => self.manifests.push(Manifest {
                    name: String::from_utf8_lossy(&decoded(name)).into_owned(),
                    changed: changed.parse().unwrap_or(0.0),
                    content: decoded(content),
                }),
                _ => {}
            }
        }
    }

    /// The process that is the API server: that of the running container, else the newest.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        let of_container = self.containers.iter().filter(|c| c.runs()).find_map(|c| {
            self.processes
                .iter()
                .find(|process| process.cgroup.contains(&c.id))
        });
        of_container.or_else(|| self.processes.iter().max_by_key(|process| process.started))
    }

    /// The container in question: the running one, else the newest.
    #[must_use]
    pub fn container(&self) -> Option<&CriContainer> {
        let running = self.containers.iter().find(|container| container.runs());
        running.or(self.containers.first())
    }

    /// API servers that the manifests ask for, with the times of their files.
    #[must_use]
    pub fn desired(&self, node: &str) -> Vec<Desired> {
        self.manifests
            .iter()
            .filter_map(|manifest| {
                let pod = StaticPod::parse(&manifest.name, &manifest.content, node).ok()?;
                Desired::of(&pod, manifest.changed)
            })
            .collect()
    }
}

impl Detail {
    /// Reads the answer of `n_inspect`.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let parts = parts(bytes);
        let part = |name: &str| parts.get(name).copied().unwrap_or_default();
        let value: Value = serde_json::from_slice(part("inspect")).unwrap_or_default();
        let state = text(&value, "/status/state").to_owned();
        let exited = state == "CONTAINER_EXITED";
        let some = |pointer: &str| {
            let text = text(&value, pointer);
            (!text.is_empty()).then(|| text.to_owned())
        };
        let list = |pointer: &str| -> Vec<String> {
            let items = value.pointer(pointer).and_then(Value::as_array);
            let items = items.into_iter().flatten().filter_map(Value::as_str);
            items.map(str::to_owned).collect()
        };
        let mounts = value.pointer("/status/mounts").and_then(Value::as_array);
        Self {
            state,
            exit_code: value
                .pointer("/status/exitCode")
                .and_then(Value::as_i64)
                .filter(|_| exited)
                .and_then(|code| i32::try_from(code).ok()),
            finished: some("/status/finishedAt")
                .filter(|_| exited)
                .and_then(|time| time.parse::<jiff::Timestamp>().ok())
                .map_or(0.0, |time| time.as_duration().as_secs_f64()),
            reason: some("/status/reason").filter(|_| exited),
            message: some("/status/message").filter(|_| exited),
            argv: list("/info/runtimeSpec/process/args"),
            mounts: mounts
                .into_iter()
                .flatten()
                .map(|mount| {
                    (
                        text(mount, "/containerPath").to_owned(),
                        text(mount, "/hostPath").to_owned(),
                    )
                })
                .collect(),
            log_tail: String::from_utf8_lossy(part("log"))
                .lines()
                .map(|line| cri_text(line).to_owned())
                .collect(),
        }
    }
}

/// A line of a container's log without time, stream and tag.
fn cri_text(line: &str) -> &str {
    let mut words = line.splitn(4, ' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(_), Some("stdout" | "stderr"), Some("F" | "P"), Some(text)) => text,
        (Some(_), Some("stdout" | "stderr"), Some("F" | "P"), None) => "",
        _ => line,
    }
}

/// An API server as a manifest asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// Command line.
    pub argv: Vec<String>,
    /// Pairs of path in the container and path on the node, of plain hostPath mounts.
    pub mounts: Vec<(String, String)>,
    /// When the file last changed.
    pub changed: f64,
}

impl Desired {
    fn of(pod: &StaticPod, changed: f64) -> Option<Self> {
        let is_server = |container: &&Container| {
            let program = container.command.first().map_or("", String::as_str);
            container.name == "kube-apiserver"
                || program.rsplit('/').next() == Some("kube-apiserver")
        };
        let container = pod.containers.iter().find(is_server)?;
        let mounts = container
            .mounts
            .iter()
            .filter(|mount| mount.sub_path.is_empty() && mount.sub_path_expr.is_empty())
            .filter_map(|mount| {
                let volume = pod.volumes.iter().find(|v| v.name == mount.volume)?;
                match &volume.source {
                    VolumeSource::HostPath { path, .. } => {
                        Some((plain(&mount.mount_path), plain(path)))
                    }
                    _ => None,
                }
            })
            .collect();
        Some(Self {
            argv: container.argv(),
            mounts,
            changed,
        })
    }

    /// Whether a container with this command line and these mounts is what is asked for.
    #[must_use]
    pub fn is(&self, argv: &[String], mounts: &[(String, String)]) -> bool {
        // What the kubelet mounts itself is below its own directory.
        let theirs: Vec<_> = mounts
            .iter()
            .filter(|(_, host)| !host.starts_with("/var/lib/kubelet/pods/"))
            .map(|(inside, host)| (plain(inside), plain(host)))
            .collect();
        self.argv == argv
            && (mounts.is_empty()
                || (self.mounts.iter().all(|mount| theirs.contains(mount))
                    && theirs.iter().all(|mount| self.mounts.contains(mount))))
    }
}

/// A path without a slash at its end.
fn plain(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}
