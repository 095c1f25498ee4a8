//! A node made of a table of files, for tests of grading alone: just enough of a kubelet and an API
//! server to play every attempt of every scenario, without processes, sockets or waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use ckslab::audit::evaluate::{Attributes, evaluate};
use ckslab::audit::event::{Event, ObjectReference, UserInfo};
use ckslab::audit::level::{Level, Stage};
use ckslab::audit::policy::{Policy, load};
use ckslab::grade::argv::{Flags, clean, parent};
use ckslab::grade::pod::{ApiServerPod, Target};
use ckslab::grade::probes::USER_AGENT;
use ckslab::node::courier::{Answer, Courier, Message};
use ckslab::node::{
    ApiServerState, ContainerPhase, ExecOutput, FileChange, Identity, Node, NodeError, NodeFile,
    ObjectChange,
};
use jiff::Timestamp;
use serde_json::json;

const MANIFESTS: &str = "/etc/kubernetes/manifests";

#[derive(Default)]
struct Inner {
    files: BTreeMap<String, (Vec<u8>, u64)>,
    dirs: BTreeSet<String>,
    /// Permission bits, where they are not those of a new file (0600) or directory (0755).
    modes: BTreeMap<String, u32>,
    owners: BTreeMap<String, u32>,
    next_inode: u64,
    /// The manifest that was acted upon, if any.
    acted: Option<Vec<u8>>,
    process: Option<Process>,
    last_words: String,
    absent: bool,
    instance: u32,
}

struct Process {
    pod: ApiServerPod,
    policy: Option<Policy>,
    /// Files in the container's own layer.
    own: BTreeMap<String, (Vec<u8>, u64)>,
}

/// The node.
pub struct FakeNode(Mutex<Inner>);

impl FakeNode {
    /// A healthy node with the manifest that kubeadm wrote.
    pub fn new() -> Self {
        let node = Self(Mutex::new(Inner::default()));
        let baseline = include_bytes!("../../fixtures/golden/static-pod/baseline.yaml");
        node.write(&format!("{MANIFESTS}/kube-apiserver.yaml"), baseline, 0o600)
            .unwrap();
        node.write(&format!("{MANIFESTS}/etcd.yaml"), b"kind: Pod\n", 0o600)
            .unwrap();
        node
    }

    /// Gives a file to a user of the node.
    pub fn chown(&self, path: &str, user: u32) {
        self.0.lock().unwrap().owners.insert(clean(path), user);
    }
}

impl Inner {
    fn put(&mut self, path: &str, content: Vec<u8>, keep_inode: bool) {
        let path = clean(path);
        let mut dir = parent(&path);
        while self.dirs.insert(dir.clone()) && dir != "/" {
            dir = parent(&dir);
        }
        let inode = match self.files.get(&path) {
            Some((_, inode)) if keep_inode => *inode,
            _ => {
                self.next_inode += 1;
                self.next_inode
            }
        };
        self.files.insert(path, (content, inode));
    }

    fn get(&self, path: &str) -> NodeFile {
        let path = clean(path);
        let bits = self.modes.get(&path).copied();
        match (self.files.get(&path), bits) {
            (Some(file), None) => as_file(file),
            (Some((content, inode)), Some(mode)) => NodeFile::File {
                content: content.clone(),
                size: content.len() as u64,
                mode,
                inode: *inode,
            },
            (None, bits) if self.dirs.contains(&path) => NodeFile::Directory {
                mode: bits.unwrap_or(0o755),
            },
            (None, _) => NodeFile::Missing,
        }
    }

    /// The kubelet: of several manifests of one pod the one that sorts last wins.
    fn sync(&mut self) {
        let winner = self
            .files
            .range(format!("{MANIFESTS}/")..format!("{MANIFESTS}0"))
            .rfind(|(path, _)| path.contains("kube-apiserver"))
            .map(|(_, (content, _))| content.clone());
        let running = self.process.is_some();
        if winner == self.acted && (running || self.absent) {
            return;
        }
        self.acted = winner.clone();
        self.process = None;
        self.absent = false;
        self.last_words.clear();
        let pod = winner
            .ok_or_else(String::new)
            .and_then(|content| ApiServerPod::read(&content, "controlplane"));
        match pod {
            Err(_) => self.absent = true,
            Ok(pod) => match self.start(&pod) {
                Ok(process) => {
                    self.process = Some(process);
                    self.instance += 1;
                }
                Err(words) => self.last_words = words,
            },
        }
    }

    fn start(&mut self, pod: &ApiServerPod) -> Result<Process, String> {
        for volume in &pod.volumes {
            let Some(path) = &volume.host_path else {
                continue;
            };
            match (self.get(path), volume.kind.as_str()) {
                (NodeFile::Missing, "File" | "Directory") => return Err(String::new()),
                (NodeFile::Missing, "FileOrCreate") => self.put(path, Vec::new(), false),
                (NodeFile::Missing, _) => {
                    self.dirs.insert(clean(path));
                }
                _ => {}
            }
        }
        let flags = Flags::of(&pod.argv);
        for (name, _) in flags.iter() {
            let known = [
                "audit-policy-file",
                "audit-log-path",
                "audit-log-maxage",
                "audit-log-maxbackup",
                "audit-log-maxsize",
            ];
            if name.starts_with("audit") && !known.contains(&name) {
                return Err(format!("Error: unknown flag: --{name}"));
            }
        }
        let mut process = Process {
            pod: pod.clone(),
            policy: None,
            own: BTreeMap::new(),
        };
        if let Some(path) = flags.text("audit-policy-file") {
            let failed = |what: &str| {
                format!("\"command failed\" err=\"loading audit policy file: {what}\"")
            };
            match self.seen(&process, path) {
                NodeFile::File { content, .. } => {
                    let loaded = load(&content).map_err(|error| failed(&error.message))?;
                    process.policy = Some(loaded.policy);
                }
                NodeFile::Directory { .. } => {
                    return Err(format!(
                        "err=\"loading audit policy file: failed to read file path: read {path}: is a directory\""
                    ));
                }
                _ => {
                    return Err(failed(
                        "failed to read file path: no such file or directory",
                    ));
                }
            }
        }
        if let Some(path) = flags.text("audit-log-path") {
            match pod.target(path) {
                Target::Node { mount, .. } if mount.read_only => {
                    return Err("Error: ensureLogFile: read-only file system".to_owned());
                }
                Target::Node { path, .. } => {
                    if let NodeFile::Missing = self.get(&path) {
                        self.put(&path, Vec::new(), false);
                    }
                }
                _ => {
                    self.next_inode += 1;
                    process
                        .own
                        .insert(clean(path), (Vec::new(), self.next_inode));
                }
            }
        }
        Ok(process)
    }

    fn seen(&self, process: &Process, path: &str) -> NodeFile {
        match process.pod.target(path) {
            Target::Node { path, .. } => self.get(&path),
            _ => process
                .own
                .get(&clean(path))
                .map_or(NodeFile::Missing, as_file),
        }
    }

    fn record(&mut self, event: &Event) {
        let mut line = serde_json::to_vec(event).unwrap();
        line.push(b'\n');
        let Some(process) = &mut self.process else {
            return;
        };
        let flags = Flags::of(&process.pod.argv);
        let Some(path) = flags.text("audit-log-path") else {
            return;
        };
        match process.pod.target(path) {
            Target::Node { path, .. } => {
                let mut content = self
                    .files
                    .get(&path)
                    .map(|(c, _)| c.clone())
                    .unwrap_or_default();
                content.extend(line);
                self.put(&path, content, true);
            }
            _ => {
                if let Some((content, _)) = process.own.get_mut(&clean(path)) {
                    content.extend(line);
                }
            }
        }
    }
}

fn as_file((content, inode): &(Vec<u8>, u64)) -> NodeFile {
    NodeFile::File {
        content: content.clone(),
        size: content.len() as u64,
        mode: 0o600,
        inode: *inode,
    }
}

impl Node for FakeNode {
    fn engine(&self) -> &'static str {
        "fake"
    }

    fn read(&self, path: &str) -> Result<NodeFile, NodeError> {
        Ok(self.0.lock().unwrap().get(path))
    }

    fn change(&self, path: &str, change: FileChange<'_>) -> Result<(), NodeError> {
        let mut inner = self.0.lock().unwrap();
        match change {
            FileChange::Write { content, mode } => {
                inner.put(path, content.to_vec(), false);
                inner.modes.insert(clean(path), mode);
            }
            FileChange::Append { content, .. } => {
                let mut whole = match inner.get(path) {
                    NodeFile::File { content, .. } => content,
                    _ => Vec::new(),
                };
                whole.extend_from_slice(content);
                inner.put(path, whole, true);
            }
            FileChange::Directory { mode } => {
                let mut dir = clean(path);
                inner.modes.insert(dir.clone(), mode);
                while inner.dirs.insert(dir.clone()) && dir != "/" {
                    dir = parent(&dir);
                }
            }
            FileChange::Remove => {
                let (path, within) = (clean(path), format!("{}/", clean(path)));
                let gone = |at: &String| *at == path || at.starts_with(&within);
                inner.files.retain(|at, _| !gone(at));
                inner.dirs.retain(|at| !gone(at));
                inner.modes.retain(|at, _| !gone(at));
            }
            FileChange::Mode(mode) => {
                inner.modes.insert(clean(path), mode);
            }
            FileChange::Rename { to } => {
                let (from, to) = (clean(path), clean(to));
                let moved = |at: &String| match at.strip_prefix(&from) {
                    Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{to}{rest}"),
                    _ => at.clone(),
                };
                inner.files = inner
                    .files
                    .iter()
                    .map(|(at, f)| (moved(at), f.clone()))
                    .collect();
                inner.dirs = inner.dirs.iter().map(moved).collect();
                inner.modes = inner.modes.iter().map(|(at, m)| (moved(at), *m)).collect();
                let mut dir = parent(&to);
                while inner.dirs.insert(dir.clone()) && dir != "/" {
                    dir = parent(&dir);
                }
            }
            other => return Err(NodeError::Refused(format!("no {other:?} here"))),
        }
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<String>, NodeError> {
        let inner = self.0.lock().unwrap();
        Ok(inner
            .files
            .keys()
            .chain(&inner.dirs)
            .filter(|file| parent(file) == clean(path) && *file != "/")
            .filter_map(|file| file.rsplit('/').next().map(str::to_owned))
            .collect())
    }

    fn owner(&self, path: &str) -> Result<Option<u32>, NodeError> {
        let inner = self.0.lock().unwrap();
        Ok(Some(inner.owners.get(&clean(path)).copied().unwrap_or(0)))
    }

    fn exec(&self, _: &[String], _: &[u8]) -> Result<ExecOutput, NodeError> {
        Err(NodeError::Refused("no commands here".to_owned()))
    }

    fn api_server(&self) -> Result<ApiServerState, NodeError> {
        let mut inner = self.0.lock().unwrap();
        inner.sync();
        let running = inner.process.is_some();
        Ok(ApiServerState {
            state: match (running, inner.absent) {
                (true, _) => ContainerPhase::Running,
                (_, true) => ContainerPhase::Absent,
                _ => ContainerPhase::Waiting,
            },
            ready: running,
            argv: inner
                .process
                .as_ref()
                .map(|process| process.pod.argv.clone())
                .unwrap_or_default(),
            restarts: 0,
            reason: (!running && !inner.absent).then(|| "CrashLoopBackOff".to_owned()),
            message: None,
            exit_code: None,
            log_tail: vec![inner.last_words.clone()],
            converging: false,
            instance: inner.instance.to_string(),
            notes: BTreeMap::new(),
        })
    }

    fn read_as_api_server(&self, path: &str) -> Result<NodeFile, NodeError> {
        let inner = self.0.lock().unwrap();
        match &inner.process {
            Some(process) => Ok(inner.seen(process, path)),
            None => Err(NodeError::NotRunning("no process".to_owned())),
        }
    }

    fn kubelet_journal(&self, _: usize) -> Result<Vec<String>, NodeError> {
        Ok(Vec::new())
    }

    fn change_objects(&self, _: &[ObjectChange]) -> Result<(), NodeError> {
        Ok(())
    }

    fn client_config(&self, _: &Identity) -> Result<kube::Config, NodeError> {
        Err(NodeError::Refused("no network here".to_owned()))
    }
}

/// Answers requests and records them as the policy says.
impl Courier for FakeNode {
    fn send(&self, sequences: &[(Identity, Vec<Message>)]) -> Vec<Vec<Result<Answer, String>>> {
        let answer = |(identity, messages): &(Identity, Vec<Message>)| {
            messages
                .iter()
                .map(|message| Ok(self.answer(identity, message)))
                .collect()
        };
        sequences.iter().map(answer).collect()
    }
}

impl FakeNode {
    fn answer(&self, identity: &Identity, message: &Message) -> Answer {
        let (user, groups) = match identity {
            Identity::User { name, groups } => (name.clone(), groups.clone()),
            _ => (
                "kubernetes-admin".to_owned(),
                vec!["kubeadm:cluster-admins".to_owned()],
            ),
        };
        let attributes = understand(message, &user, &groups);
        let code = match (
            attributes.verb.as_str(),
            attributes.name.contains("ckslab-"),
        ) {
            ("create", false) => 201,
            (_, true) => 404,
            _ => 200,
        };
        let now = Timestamp::now();
        let mut inner = self.0.lock().unwrap();
        let policy = inner
            .process
            .as_ref()
            .and_then(|process| process.policy.clone());
        let decision = evaluate(&policy.unwrap_or_default(), &attributes);
        for stage in [Stage::RequestReceived, Stage::ResponseComplete] {
            if decision.level == Level::None || decision.omit_stages.contains(&stage) {
                continue;
            }
            let complete = stage == Stage::ResponseComplete;
            let event = Event {
                kind: "Event".into(),
                api_version: "audit.k8s.io/v1".into(),
                level: decision.level,
                audit_id: message.audit_id.clone(),
                stage,
                request_uri: message.path.clone(),
                verb: attributes.verb.clone(),
                user: UserInfo {
                    username: user.clone(),
                    ..UserInfo::default()
                },
                impersonated_user: None,
                authentication_metadata: None,
                source_ips: vec!["127.0.0.1".into()],
                user_agent: USER_AGENT.into(),
                object_ref: attributes.resource_request.then(|| ObjectReference {
                    resource: attributes.resource.clone(),
                    namespace: attributes.namespace.clone(),
                    name: attributes.name.clone(),
                    api_group: attributes.api_group.clone(),
                    api_version: attributes.api_version.clone(),
                    subresource: attributes.subresource.clone(),
                    ..ObjectReference::default()
                }),
                response_status: complete.then(|| json!({"metadata": {}, "code": code})),
                request_object: (complete
                    && decision.level >= Level::Request
                    && !message.body.is_empty())
                .then(|| serde_json::from_slice(&message.body).unwrap()),
                response_object: (complete && decision.level == Level::RequestResponse)
                    .then(|| json!({"kind": "Status"}).into()),
                request_received_timestamp: now.to_string(),
                received_nanoseconds: 0,
                stage_timestamp: now.to_string(),
                annotations: BTreeMap::new(),
            };
            inner.record(&event);
        }
        Answer {
            code,
            sent: now,
            answered: now,
        }
    }
}

/// What the API server makes of a request's method and path.
fn understand(message: &Message, user: &str, groups: &[String]) -> Attributes {
    let path = message.path.split('?').next().unwrap_or_default();
    let mut groups = groups.to_vec();
    groups.push("system:authenticated".to_owned());
    let mut attributes = Attributes {
        user: Some(user.to_owned()),
        groups,
        verb: message.method.as_str().to_lowercase(),
        path: path.to_owned(),
        ..Attributes::default()
    };
    let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let discovery = if parts[0] == "apis" { 3 } else { 2 };
    match parts.first() {
        // What there is, not an object.
        Some(_) if parts.len() <= discovery => return attributes,
        Some(&"api") => {
            parts.remove(0);
        }
        Some(&"apis") => {
            attributes.api_group = parts[1].to_owned();
            parts.drain(..2);
        }
        _ => return attributes,
    }
    attributes.resource_request = true;
    attributes.api_version = parts.remove(0).to_owned();
    if parts.first() == Some(&"namespaces") && parts.len() > 2 {
        attributes.namespace = parts[1].to_owned();
        parts.drain(..2);
    }
    attributes.resource = parts[0].to_owned();
    attributes.name = parts.get(1).copied().unwrap_or_default().to_owned();
    attributes.subresource = parts.get(2).copied().unwrap_or_default().to_owned();
    attributes.verb = match (message.method.as_str(), attributes.name.is_empty()) {
        ("GET", true) => "list",
        ("GET", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "deletecollection",
        _ => "delete",
    }
    .to_owned();
    attributes
}
