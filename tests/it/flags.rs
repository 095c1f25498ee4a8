//! kube-apiserver command lines of fixtures/golden/flags.jsonl, given to our program: exit codes,
//! standard error, files, and where a probe's audit lines went.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ckslab::node::embedded::apiserver::program::KubeApiServer;
use ckslab::node::embedded::apiserver::request::UserInfo;
use ckslab::node::embedded::machine::{LocalRequest, Machine};
use ckslab::node::embedded::process::{Output, Process, Program};
use ckslab::node::embedded::runtime::rootfs::{Mount, Rootfs};
use ckslab::node::embedded::store::Store;
use futures_util::StreamExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::replay;
use crate::report;

/// Rows that run in a user namespace of their own, and how it is made: with a file system that is
/// full.
const NAMESPACED: [(&str, &[&str]); 1] = [("logpath-11", &["--map-root-user", "--mount"])];

/// Rows that are known to differ, and why. One that agrees fails, so that this only shrinks.
const DIFFERING: [(&str, &str); 0] = [];

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
                ["mount", "-t", "tmpfs", "-o", size, "none", path] => {
                    let mount = ["-t", "tmpfs", "-o", *size, "none"];
                    let made = Command::new("mount").args(mount).arg(at(path)).status();
                    assert!(made.unwrap().success());
                }
                ["dd", _, of, ..] => {
                    let path = of.strip_prefix("of=").unwrap();
                    // Until the file system is full.
                    let _ = std::fs::write(at(path), vec![0; 64 << 10]);
                }
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

/// A command line, and the root of the node it runs on.
pub(crate) struct Row {
    pub(crate) row: Value,
    pub(crate) base: Vec<String>,
    pub(crate) root: PathBuf,
}

impl Row {
    pub(crate) async fn differences(self) -> Vec<String> {
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
        // At the end what was not delivered is tried again: not for minutes here.
        if row["ready"] == true && strings(&row["auditFlagLines"]).is_empty() {
            argv.push("--audit-webhook-initial-backoff=1ms".to_owned());
        }
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
        let rootfs = Rootfs::new(self.root.clone(), layer.clone(), mounts);
        rootfs.prepare().unwrap();
        let rootfs = Arc::new(if row["runAsUser"].as_u64().unwrap_or(0) == 0 {
            rootfs
        } else {
            rootfs.unprivileged()
        });
        let store = if cut(&strings(&row["stderr"])) {
            tokio::task::block_in_place(replay::base_store)
        } else {
            Store::in_memory()
        };
        let machine: Arc<Machine> = replay::machine(store);
        let output = Arc::new(Captured::default());
        let terminate = CancellationToken::new();
        let process = Process {
            argv,
            rootfs,
            output: output.clone(),
            terminate: terminate.clone(),
            pid: 4242,
            own_network: false,
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
            let same = if row["lastLineOnly"] == true {
                got.last() == wanted.last()
            } else {
                got == wanted
            };
            if cut(&wanted) {
                compare_cut(&got, row, &mut notes);
            } else if !same {
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
            if row["auditPluginErrors"] != 0 {
                notes.extend(plugin_errors(&lines(&output.stderr), &wanted));
            } else if got != wanted {
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

/// What a log that takes nothing makes of the probe: which requests are the first ones is a matter
/// of timing, so that only the shape is recorded.
fn plugin_errors(got: &[String], wanted: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    for (stage, response) in [
        ("RequestReceived", "<deferred>"),
        ("ResponseComplete", "200"),
    ] {
        let event = format!(
            "<RFC3339Nano> AUDIT: id=\"<UUID>\" stage=\"{stage}\" ip=\"127.0.0.1\" method=\"list\" user=\"kubernetes-super-admin\" groups=\"\\\"system:masters\\\",\\\"system:authenticated\\\"\" as=\"<self>\" asgroups=\"<lookup>\" user-agent=\"probe/1.0\" namespace=\"default\" uri=\"/api/v1/namespaces/default/configmaps?limit=1\" response=\"{response}\""
        );
        let block = [&wanted[0], &wanted[1], &event];
        let found = got.windows(3).any(|lines| {
            let event = lines[2]
                .split_once(" stage=")
                .map_or(String::new(), |(_, rest)| {
                    format!("<RFC3339Nano> AUDIT: id=\"<UUID>\" stage={rest}")
                });
            [&lines[0], &lines[1], &event] == block
        });
        if !found {
            notes.push(format!("no {block:#?} in {got:#?}"));
        }
    }
    notes
}

/// Whether the middle of a long output is missing in the recording.
fn cut(lines: &[String]) -> bool {
    lines.iter().any(|line| line.ends_with(" lines cut>"))
}

/// The end, what is said of audit, and every error of ours that is not of a kind the cut may have
/// swallowed: a real one says much more.
fn compare_cut(got: &[String], row: &Value, notes: &mut Vec<String>) {
    let wanted = strings(&row["stderr"]);
    if got.last() != wanted.last() {
        notes.push(format!(
            "ends with {:?}, want {:?}",
            got.last(),
            wanted.last()
        ));
    }
    let plugin = "Error in audit plugin 'webhook' affecting 1 audit events: ";
    let errors = got.iter().filter(|line| line.contains(plugin)).count();
    if (errors > 0) != (row["auditPluginErrors"] != 0) {
        notes.push(format!(
            "{errors} plugin errors, want {}",
            row["auditPluginErrors"]
        ));
    }
    let backend = |lines: &[String]| -> Vec<String> {
        let mut lines = lines.to_vec();
        lines.retain(|line| line.contains("Using audit backend"));
        lines
    };
    if backend(got) != backend(&wanted) {
        notes.push(format!("{:?}, want {:?}", backend(got), backend(&wanted)));
    }
    for line in got {
        let is_error = line.starts_with("E<") || line.starts_with("F<");
        if is_error && !line.contains(plugin) && !wanted.contains(line) {
            notes.push(format!("unknown line {line}"));
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

/// Runs one row in a namespace; `None` where there are none.
fn in_namespace(namespace: &[&str], id: &str) -> Option<Result<(), String>> {
    let unshare = |command: &[&str]| {
        Command::new("unshare")
            .args(namespace)
            .args(command)
            .output()
    };
    if !unshare(&["true"]).is_ok_and(|tried| tried.status.success()) {
        return None;
    }
    let exe = std::env::current_exe().unwrap();
    let ran = Command::new("unshare")
        .args(namespace)
        .arg(exe)
        .args(["--exact", "flags::one_row", "--ignored", "--nocapture"])
        .env("FLAGS_ROW", id)
        .output()
        .unwrap();
    if ran.status.success() {
        Some(Ok(()))
    } else {
        Some(Err(String::from_utf8_lossy(&ran.stdout).into_owned()
            + &String::from_utf8_lossy(&ran.stderr)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in a user namespace, where command_lines_end_or_serve_as_the_real_ones_do starts it"]
async fn one_row() {
    let wanted = std::env::var("FLAGS_ROW").unwrap_or_default();
    let text = std::fs::read_to_string(replay::golden().join("flags.jsonl")).unwrap();
    let rows = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    for row in rows.filter(|row| row["id"] == wanted) {
        let root = tempfile::tempdir().unwrap();
        pki(root.path());
        let row = Row {
            row,
            base: base_arguments(),
            root: root.path().to_path_buf(),
        };
        let notes = row.differences().await;
        assert!(notes.is_empty(), "{}", notes.join("; "));
    }
}

/// How many rows run at a time: most of their time they wait.
const AT_ONCE: usize = 16;

/// What became of a row.
enum Ran {
    /// There are no namespaces like that here.
    Not,
    /// The differences.
    With(Vec<String>),
}

async fn run_row(row: Value, base: Vec<String>, template: PathBuf) -> Ran {
    let id = row["id"].as_str().unwrap().to_owned();
    if let Some((_, namespace)) = NAMESPACED.iter().find(|(known, _)| *known == id) {
        let ran = tokio::task::spawn_blocking(move || in_namespace(namespace, &id)).await;
        return match ran.unwrap() {
            None => Ran::Not,
            Some(Ok(())) => Ran::With(Vec::new()),
            Some(Err(reason)) => Ran::With(vec![reason]),
        };
    }
    let root = tempfile::tempdir().unwrap();
    copy(&template, root.path());
    let row = Row {
        row,
        base,
        root: root.path().to_path_buf(),
    };
    Ran::With(row.differences().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_lines_end_or_serve_as_the_real_ones_do() {
    let text = std::fs::read_to_string(replay::golden().join("flags.jsonl")).unwrap();
    let base = base_arguments();
    let template = tempfile::tempdir().unwrap();
    pki(template.path());
    let wanted = std::env::var("FLAGS").unwrap_or_default();
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|row: &Value| row["id"].as_str().unwrap().contains(&wanted))
        .collect();
    let total = rows.len();
    let ran: Vec<(String, Ran)> = futures_util::stream::iter(rows.into_iter().map(|row| {
        let id = row["id"].as_str().unwrap().to_owned();
        let started = std::time::Instant::now();
        let running = tokio::spawn(run_row(row, base.clone(), template.path().to_path_buf()));
        async move {
            let ran = running.await.unwrap();
            if std::env::var_os("FLAGS_TIMES").is_some() {
                report::line(format!("flags: {id} took {:?}", started.elapsed()));
            }
            (id, ran)
        }
    }))
    .buffered(AT_ONCE)
    .collect()
    .await;
    let mut agree = 0;
    let mut unexpected = Vec::new();
    let mut listed = 0;
    for (id, ran) in ran {
        let Ran::With(notes) = ran else {
            report::line(format!("flags: {id} not run: no user namespaces here"));
            continue;
        };
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
        assert_eq!(listed, DIFFERING.len(), "a listed row does not exist");
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
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
