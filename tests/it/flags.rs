//! kube-apiserver command lines of fixtures/golden/flags.jsonl, given to our program: exit codes,
//! standard error, files, and where a probe's audit lines went.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ckslab::node::embedded::apiserver::program::KubeApiServer;
use ckslab::node::embedded::apiserver::request::UserInfo;
use ckslab::node::embedded::machine::{LocalRequest, Machine};
use ckslab::node::embedded::process::{Output, Process, Program};
use ckslab::node::embedded::runtime::rootfs::{Mount, Rootfs};
use ckslab::node::embedded::store::Store;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::replay;
use crate::report;

/// Rows that cannot be run here, and why.
const NOT_RUN: [(&str, &str); 3] = [
    ("logpath-11", "needs a full file system"),
    ("logpath-13", "runs as another user"),
    ("policyfile-11", "runs as another user"),
];

/// Rows that are known to differ, and why. One that agrees fails, so that this only shrinks.
const DIFFERING: [(&str, &str); 3] = [
    ("webhook-05", BLOCKED_BY_WEBHOOK),
    ("webhook-06", BLOCKED_BY_WEBHOOK),
    ("webhook-11", BLOCKED_BY_WEBHOOK),
];

const BLOCKED_BY_WEBHOOK: &str =
    "no events are sent to a webhook: the real one is not ready while its requests wait for it";

fn reason(list: &[(&str, &'static str)], id: &str) -> Option<&'static str> {
    list.iter()
        .find(|(known, _)| *known == id)
        .map(|(_, reason)| *reason)
}

#[derive(Default)]
pub(crate) struct Captured {
    pub(crate) stdout: Mutex<Vec<String>>,
    pub(crate) stderr: Mutex<Vec<String>>,
}

impl Output for Captured {
    fn stdout(&self, line: &str) {
        self.stdout.lock().unwrap().push(line.to_owned());
    }
    fn stderr(&self, line: &str) {
        self.stderr.lock().unwrap().push(line.to_owned());
    }
}

/// The files a control-plane node has for its API server.
pub(crate) fn pki(root: &Path) {
    let pki = root.join("etc/kubernetes/pki");
    std::fs::create_dir_all(&pki).unwrap();
    std::fs::create_dir_all(root.join("var/log/kubernetes")).unwrap();
    for name in [
        "ca",
        "apiserver",
        "apiserver-kubelet-client",
        "front-proxy-ca",
        "front-proxy-client",
    ] {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        if name.ends_with("ca") {
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        let certificate = parameters.self_signed(&key).unwrap();
        std::fs::write(pki.join(format!("{name}.crt")), certificate.pem()).unwrap();
        std::fs::write(pki.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(pki.join("sa.key"), key.serialize_pem()).unwrap();
    std::fs::write(pki.join("sa.pub"), key.public_key_pem()).unwrap();
    std::fs::write(
        root.join("etc/kubernetes/audit-policy.yaml"),
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n",
    )
    .unwrap();
}

/// Does what a row's shell commands did, below `root`. Gives directories mounted read-only.
fn prepare(root: &Path, commands: &Value) -> Vec<String> {
    let mut read_only = Vec::new();
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    for command in commands.as_array().unwrap() {
        let command = command.as_str().unwrap();
        if let Some(rest) = command.strip_prefix("cat > ") {
            let (path, text) = rest.split_once(" <<'EOF'\n").unwrap();
            std::fs::write(at(path), text.strip_suffix("EOF").unwrap()).unwrap();
            continue;
        }
        for part in command.split(" && ") {
            let words: Vec<&str> = part.split_whitespace().collect();
            match words.as_slice() {
                ["mkdir", "-p", path] => std::fs::create_dir_all(at(path)).unwrap(),
                ["touch", path] => std::fs::write(at(path), "").unwrap(),
                [":", ">", path] => std::fs::write(at(path), "").unwrap(),
                ["chmod", mode, path] => std::fs::set_permissions(
                    at(path),
                    std::fs::Permissions::from_mode(u32::from_str_radix(mode, 8).unwrap()),
                )
                .unwrap(),
                ["echo", .., ">", path] => {
                    let text = part.split('"').nth(1).unwrap();
                    std::fs::write(at(path), format!("{text}\n")).unwrap();
                }
                ["mount", .., "ro", "none", path] => read_only.push((*path).to_owned()),
                _ => panic!("unknown set-up command: {part}"),
            }
        }
    }
    read_only
}

/// klog's header, masked as in the recordings.
pub(crate) fn masked(line: &str) -> String {
    let bytes = line.as_bytes();
    let is_header = bytes.len() > 30
        && matches!(bytes[0], b'I' | b'W' | b'E' | b'F')
        && bytes[1..5].iter().all(u8::is_ascii_digit)
        && bytes[5] == b' ';
    if !is_header {
        return line.to_owned();
    }
    let rest = line[21..].trim_start();
    let rest = rest.split_once(' ').map_or("", |(_, rest)| rest);
    format!("{}<MMDD> <HH:MM:SS.uuuuuu> <PID> {rest}", &line[..1])
}

pub(crate) fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .map(|items| {
            items
                .iter()
                .map(|item| item.as_str().unwrap().to_owned())
                .collect()
        })
        .unwrap_or_default()
}

pub(crate) fn base_arguments() -> Vec<String> {
    let text = replay::gunzip(&replay::golden().join("events/metadata-all.steps.jsonl.gz"));
    let head: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    strings(&head["apiserverArgs"])
        .into_iter()
        .filter(|argument| !argument.starts_with("--audit-"))
        .collect()
}

/// Files below a directory: path to type, mode, and whether it is empty.
fn files(root: &Path, directory: &str, out: &mut BTreeMap<String, String>) {
    let Ok(entries) = std::fs::read_dir(root.join(directory.trim_start_matches('/'))) else {
        return;
    };
    for entry in entries {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            out.insert(path.clone(), format!("dir {mode:04o}"));
            files(root, &path, out);
        } else {
            out.insert(
                path,
                format!("file {mode:04o} empty={}", metadata.len() == 0),
            );
        }
    }
}

struct Row {
    row: Value,
    base: Vec<String>,
    root: PathBuf,
}

impl Row {
    async fn differences(self) -> Vec<String> {
        let row = &self.row;
        let mut notes = Vec::new();
        let read_only = prepare(&self.root, &row["setup"]);
        let removed = strings(&row["removedBaseArgs"]);
        let mut argv = vec!["kube-apiserver".to_owned()];
        argv.extend(
            self.base
                .iter()
                .filter(|argument| {
                    let name = argument.split('=').next().unwrap();
                    !removed.iter().any(|r| r.split('=').next() == Some(name))
                })
                .cloned(),
        );
        argv.extend(strings(&row["args"]));
        let mount = |name: &str, path: &str, read_only: bool| Mount {
            name: name.to_owned(),
            container_path: path.to_owned(),
            node_path: path.to_owned(),
            read_only,
        };
        let mut mounts = vec![
            mount("k8s", "/etc/kubernetes", false),
            mount("log", "/var/log/kubernetes", false),
        ];
        mounts.extend(read_only.iter().map(|path| mount("ro", path, true)));
        let layer = self.root.join("layer");
        std::fs::create_dir_all(&layer).unwrap();
        let rootfs = Arc::new(Rootfs::new(self.root.clone(), layer.clone(), mounts));
        rootfs.prepare().unwrap();
        let machine: Arc<Machine> = replay::machine(Store::in_memory());
        let output = Arc::new(Captured::default());
        let terminate = CancellationToken::new();
        let process = Process {
            argv,
            rootfs,
            output: output.clone(),
            terminate: terminate.clone(),
            pid: 4242,
        };
        let mut api = machine.api.subscribe();
        let program = KubeApiServer::new(machine.clone());
        let mut running = tokio::spawn(async move { program.run(process).await });
        let ended = tokio::select! {
            code = &mut running => Some(code.unwrap()),
            _ = api.wait_for(Option::is_some) => None,
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("neither ready nor ended"),
        };
        let lines = |lines: &Mutex<Vec<String>>| -> Vec<String> {
            lines
                .lock()
                .unwrap()
                .iter()
                .flat_map(|line| line.split('\n'))
                .map(masked)
                // Printed or not by timing.
                .filter(|line| !line.contains("Waiting for caches to sync"))
                .collect()
        };
        let wanted: Vec<String> = strings(&row["stderr"])
            .into_iter()
            .filter(|line| !line.contains("Waiting for caches to sync"))
            .collect();
        if let Some(code) = ended {
            if row["ready"] == true {
                return vec![format!(
                    "ended with {code}: {:?}",
                    lines(&output.stderr).last()
                )];
            }
            if row["exitCode"] != code {
                notes.push(format!("exit code {code}, want {}", row["exitCode"]));
            }
            let got: Vec<String> = lines(&output.stderr)
                .into_iter()
                .filter(|line| !line.contains("FLAG:"))
                .collect();
            if got != wanted {
                notes.push(format!("stderr {got:#?}\nwant {wanted:#?}"));
            }
            let head = strings(&row["stdoutHead"]);
            if !head.is_empty() && lines(&output.stdout) != head {
                notes.push(format!("stdout {:?}", lines(&output.stdout)));
            }
        } else {
            let local = machine.api.borrow().clone().unwrap();
            let response = local
                .call(LocalRequest {
                    user: UserInfo {
                        username: "kubernetes-super-admin".to_owned(),
                        groups: vec![
                            "system:masters".to_owned(),
                            "system:authenticated".to_owned(),
                        ],
                        ..UserInfo::default()
                    },
                    user_agent: "probe/1.0".to_owned(),
                    source_ip: "127.0.0.1".to_owned(),
                    method: http::Method::GET,
                    path_and_query: row["probe"]["path"].as_str().unwrap_or("/").to_owned(),
                    content_type: String::new(),
                    body: None,
                })
                .await;
            if row["ready"] != true {
                notes.push("became ready".to_owned());
            } else if row["probe"]["status"] != response.code {
                notes.push(format!("probe answered {}", response.code));
            }
            let got: Vec<String> = lines(&output.stderr)
                .into_iter()
                .filter(|line| {
                    (line.to_lowercase().contains("audit") || line.starts_with("Flag --"))
                        && !line.contains("FLAG:")
                })
                .collect();
            if got != wanted {
                notes.push(format!("stderr {got:#?}\nwant {wanted:#?}"));
            }
            let flags: Vec<String> = lines(&output.stderr)
                .into_iter()
                .filter(|line| line.contains("FLAG: --audit-"))
                .collect();
            let wanted = strings(&row["auditFlagLines"]);
            if flags != wanted {
                notes.push(format!("flag lines {flags:#?}\nwant {wanted:#?}"));
            }
            terminate.cancel();
            let code = running.await.unwrap();
            if code != 0 {
                notes.push(format!("ended with {code} after SIGTERM"));
            }
            self.compare_files(&layer, &mut notes);
            self.compare_probe(&output, &layer, &mut notes);
        }
        notes
    }

    fn compare_files(&self, layer: &Path, notes: &mut Vec<String>) {
        let mut got = BTreeMap::new();
        files(&self.root, "/var/log/kubernetes", &mut got);
        let mut beside = BTreeMap::new();
        files(layer, "", &mut beside);
        for (path, facts) in beside {
            if path.ends_with("audit.log") && path.matches('/').count() == 1 {
                got.insert(format!("<cwd>{path}"), facts);
            }
        }
        let want: BTreeMap<String, String> = self.row["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| {
                let path = file["path"].as_str().unwrap().to_owned();
                let mode = file["mode"].as_str().unwrap();
                let facts = if file["type"] == "dir" {
                    format!("dir {mode}")
                } else {
                    format!("file {mode} empty={}", file["empty"])
                };
                (path, facts)
            })
            .collect();
        if got != want {
            notes.push(format!("files {got:?}\nwant {want:?}"));
        }
    }

    /// Where the lines of the probe are, and what they say but for identifiers and times.
    fn compare_probe(&self, output: &Captured, layer: &Path, notes: &mut Vec<String>) {
        // Rows without a log backend have none.
        let lines = self.row["probeAuditLines"].as_array();
        for line in lines.into_iter().flatten() {
            let place = line["where"].as_str().unwrap();
            let text = if place.contains("stdout") {
                output.stdout.lock().unwrap().join("\n")
            } else if let Some(path) = place.strip_prefix("<cwd>/") {
                std::fs::read_to_string(layer.join(path)).unwrap_or_default()
            } else {
                std::fs::read_to_string(self.root.join(place.trim_start_matches('/')))
                    .unwrap_or_default()
            };
            let want = line["line"].as_str().unwrap();
            if !text.lines().any(|got| comparable(got) == comparable(want)) {
                notes.push(format!("no line like {want} in {place}: {text:.600}"));
            }
        }
    }
}

/// An audit line without what differs between runs.
fn comparable(line: &str) -> String {
    if let Ok(mut event) = serde_json::from_str::<Value>(line) {
        for field in ["auditID", "requestReceivedTimestamp", "stageTimestamp"] {
            event[field] = Value::Null;
        }
        if let Some(user) = event.get_mut("user").and_then(Value::as_object_mut) {
            user.shift_remove("extra");
        }
        return event.to_string();
    }
    // Legacy: time and id in front.
    line.split_once(" stage=")
        .map_or(line, |(_, rest)| rest)
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_lines_end_or_serve_as_the_real_ones_do() {
    let text = std::fs::read_to_string(replay::golden().join("flags.jsonl")).unwrap();
    let base = base_arguments();
    let template = tempfile::tempdir().unwrap();
    pki(template.path());
    let wanted = std::env::var("FLAGS").unwrap_or_default();
    let mut agree = 0;
    let mut total = 0;
    let mut unexpected = Vec::new();
    let mut listed = 0;
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let id = row["id"].as_str().unwrap().to_owned();
        if !id.contains(&wanted) {
            continue;
        }
        total += 1;
        if let Some(reason) = reason(&NOT_RUN, &id) {
            report::line(format!("flags: {id} not run: {reason}"));
            listed += 1;
            continue;
        }
        let root = tempfile::tempdir().unwrap();
        copy(template.path(), root.path());
        let notes = Row {
            row,
            base: base.clone(),
            root: root.path().to_path_buf(),
        }
        .differences()
        .await;
        match (notes.is_empty(), reason(&DIFFERING, &id)) {
            (true, None) => agree += 1,
            (true, Some(_)) => unexpected.push(format!("{id} agrees: take it off the list")),
            (false, Some(reason)) => {
                report::line(format!("flags: {id} differs: {reason}"));
                listed += 1;
            }
            (false, None) => unexpected.push(format!("{id}: {}", notes.join("; "))),
        }
    }
    report::agreement("flags", "command lines", agree, total, listed);
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
    if wanted.is_empty() {
        let lists = NOT_RUN.len() + DIFFERING.len();
        assert_eq!(listed, lists, "a listed row does not exist");
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.metadata().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
