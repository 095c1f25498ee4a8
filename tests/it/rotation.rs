//! The files of the log backend on disk: every case of fixtures/golden/rotation.jsonl, done again on our
//! API server with real files, snapshot by snapshot.

use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ckslab::node::embedded::apiserver::program::KubeApiServer;
use ckslab::node::embedded::apiserver::request::UserInfo;
use ckslab::node::embedded::machine::{LocalRequest, Machine};
use ckslab::node::embedded::process::{Process, Program};
use ckslab::node::embedded::runtime::rootfs::{Mount, Rootfs};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::flags::{Captured, base_arguments, masked, pki, strings};
use crate::{replay, report};

/// Bytes of the ConfigMap that makes an event as long as the recorded ones; it is in there twice.
const BODY: usize = 28_558;
/// Where a rotated file's time stands.
const STAMP: &[u8] = b"0000-00-00T00-00-00.000";

/// What was done before a snapshot was taken. The recordings name it in words.
enum Action {
    Nothing,
    /// Requests whose events have the recorded size.
    Requests(usize),
    /// One request with a body of this many bytes.
    Large(usize),
    Change(fn(&Path)),
    Stop,
    Start,
    Kill,
}

use Action::{Change, Kill, Large, Nothing, Requests, Start, Stop};

fn actions(id: &str, step: &str) -> Vec<Action> {
    match (id, step) {
        ("preexisting-large" | "maxage-prune", "before start") => vec![Change(prepare(id))],
        (_, "after start (ready)") => vec![Start],
        (_, "start" | "1.5 s later" | "1 s after start" | "2.5 s after") => vec![Nothing],
        ("rotate-maxsize-1", "after ~2.5 MB of events") => vec![Requests(44)],
        ("rotate-maxbackup-2", _) => vec![Requests(19)],
        ("rotate-compress", "0.5 s after the rotations") => vec![Requests(41)],
        ("rotate-maxsize-0", "after ~1.5 MB") => vec![Requests(27)],
        ("rotate-mode-kept", "chmod 0644, chown 65534 of the live file") => {
            vec![Change(|directory| {
                let log = directory.join("audit.log");
                let public = std::fs::Permissions::from_mode(0o644);
                std::fs::set_permissions(&log, public).unwrap();
                if is_root() {
                    std::os::unix::fs::chown(log, Some(65_534), Some(65_534)).unwrap();
                }
            })]
        }
        ("rotate-mode-kept", "after rotation") => vec![Requests(21)],
        ("delete-live", "rm audit.log") => vec![Change(|directory| {
            std::fs::remove_file(directory.join("audit.log")).unwrap();
        })],
        ("delete-live", "after enough events for a rotation") => vec![Requests(21)],
        ("truncate-live", "some events") => vec![Requests(6)],
        ("truncate-live", "truncated to 0") => vec![Change(|directory| {
            std::fs::write(directory.join("audit.log"), "").unwrap();
        })],
        ("truncate-live", "~1.2 MB in total since start") => vec![Requests(13)],
        ("move-live", "mv audit.log audit.log.1") => vec![
            Requests(4),
            Change(|directory| {
                let log = directory.join("audit.log");
                std::fs::rename(&log, directory.join("audit.log.1")).unwrap();
            }),
        ],
        ("restart-append", "stopped (SIGTERM)") => vec![Stop],
        ("restart-append", "restarted, more events") => vec![Start, Requests(2)],
        ("maxage-prune", "a few events, no rotation") => vec![Requests(1)],
        ("maxage-prune", "after a rotation") => vec![Requests(21)],
        (_, "rm -rf of the log directory") => vec![Change(|directory| {
            std::fs::remove_dir_all(directory).unwrap();
        })],
        (_, "enough events for a rotation") => vec![Requests(23)],
        ("event-larger-than-maxsize", _) => vec![Large(900_000)],
        ("sighup", "2 s after SIGHUP") => vec![Kill],
        ("rmdir-live" | "rmdir-live-after-events" | "sighup" | "preexisting-large", _) => {
            vec![Requests(2)]
        }
        ("delete-live" | "move-live" | "truncate-live" | "restart-append", _) => {
            vec![Requests(4)]
        }
        _ => panic!("{id}: unknown step {step}"),
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// The files that were there before the start.
fn prepare(id: &str) -> fn(&Path) {
    fn make(directory: &Path, name: &str, text: &[u8], mode: u32) {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    match id {
        "preexisting-large" => |directory| {
            make(
                directory,
                "audit.log",
                &b"an old line.\n".repeat(90_000),
                0o640,
            );
        },
        _ => |directory| {
            // It was one day old then.
            let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(36);
            for name in [
                "audit-2020-01-01.log",
                "audit-2020-01-01T00-00-00.000.log",
                "audit-2020-01-02T00-00-00.000.log.gz",
                "other-2020-01-01T00-00-00.000.log",
                &yesterday
                    .strftime("audit-%Y-%m-%dT%H-%M-%S%.3f.log")
                    .to_string(),
            ] {
                make(directory, name, b"x\n", 0o644);
            }
        },
    }
}

/// A name without the time it was made at; one of long ago keeps it.
fn pattern(name: &str) -> String {
    let is_recent = |text: &[u8]| {
        !text.starts_with(b"2020")
            && text.iter().zip(STAMP).all(|(byte, pattern)| match pattern {
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            })
    };
    match (0..name.len()).find(|at| {
        name.as_bytes()
            .get(*at..at + STAMP.len())
            .is_some_and(is_recent)
    }) {
        Some(at) => format!("{}TIME{}", &name[..at], &name[at + STAMP.len()..]),
        None => name.to_owned(),
    }
}

/// What is in the log's directory, in the form of the recordings.
fn snapshot(directory: &Path) -> Value {
    let Ok(metadata) = std::fs::metadata(directory) else {
        return Value::Null;
    };
    let mode = |metadata: &std::fs::Metadata| format!("{:04o}", metadata.mode() & 0o7777);
    let mut names: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let mut files = Vec::new();
    for path in names {
        // One that is being compressed or pruned may be gone by now.
        let found = std::fs::symlink_metadata(&path)
            .and_then(|metadata| Ok((metadata, std::fs::read(&path)?)));
        let (metadata, mut content) = match found {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            found => found.unwrap(),
        };
        let mut file = json!({
            "name": path.file_name().unwrap().to_str().unwrap(),
            "type": if metadata.is_file() { "file" } else { "other" },
            "mode": mode(&metadata),
            "uid": metadata.uid(),
            "gid": metadata.gid(),
            "size": content.len(),
        });
        if path.extension().is_some_and(|extension| extension == "gz") {
            let mut plain = Vec::new();
            let unpacked = flate2::read::GzDecoder::new(&content[..]).read_to_end(&mut plain);
            if unpacked.is_err() {
                file["error"] = "Not a gzipped file".into();
                files.push(file);
                continue;
            }
            file["uncompressedSize"] = plain.len().into();
            content = plain;
        }
        file["lines"] = content.iter().filter(|byte| **byte == b'\n').count().into();
        file["lastLineComplete"] = content.last().is_none_or(|byte| *byte == b'\n').into();
        files.push(file);
    }
    json!({"dirMode": mode(&metadata), "files": files})
}

/// Whether sizes are those of the same content, but for ids and times.
fn is_close(got: &Value, want: &Value) -> bool {
    match (got.as_f64(), want.as_f64()) {
        (Some(got), Some(want)) => (got - want).abs() <= want * 0.005,
        (got, want) => got == want,
    }
}

fn difference(got: &Value, want: &Value) -> Option<String> {
    if got["dirMode"] != want["dirMode"] {
        return Some(format!(
            "directory {} want {}",
            got["dirMode"], want["dirMode"]
        ));
    }
    let list = |value: &Value| value["files"].as_array().cloned().unwrap_or_default();
    let (got, want) = (list(got), list(want));
    let names = |files: &[Value]| -> Vec<String> {
        files
            .iter()
            .map(|file| pattern(file["name"].as_str().unwrap()))
            .collect()
    };
    if names(&got) != names(&want) {
        return Some(format!("files {:?} want {:?}", names(&got), names(&want)));
    }
    for (got, want) in got.iter().zip(&want) {
        let same = ["type", "mode", "lines", "lastLineComplete"]
            .iter()
            .all(|field| got[field] == want[field])
            && got["error"].is_null() == want["error"].is_null()
            && is_close(&got["uncompressedSize"], &want["uncompressedSize"])
            // How small it gets depends on the text and on the compressor.
            && (!want["uncompressedSize"].is_null() || is_close(&got["size"], &want["size"]))
            && (!is_root() || (got["uid"] == want["uid"] && got["gid"] == want["gid"]));
        if !same {
            return Some(format!("{got} want {want}"));
        }
    }
    None
}

/// A line with the length of the event it speaks of, and the line without it.
fn error_and_length(line: &str) -> (Value, String) {
    let mut words: Vec<&str> = line.split(' ').collect();
    let at = words
        .windows(2)
        .position(|pair| pair == ["write", "length"]);
    match at.and_then(|at| words.get_mut(at + 2)) {
        Some(length) => {
            let number = length.parse::<u64>().unwrap();
            *length = "N";
            (number.into(), words.join(" "))
        }
        None => (Value::Null, line.to_owned()),
    }
}

/// The creation of a ConfigMap with so much text.
fn create(name: &str, size: usize) -> LocalRequest {
    LocalRequest {
        user: UserInfo {
            username: "kubernetes-super-admin".to_owned(),
            groups: vec![
                "system:masters".to_owned(),
                "system:authenticated".to_owned(),
            ],
            ..UserInfo::default()
        },
        user_agent: "rotation/1.0".to_owned(),
        source_ip: "127.0.0.1".to_owned(),
        method: http::Method::POST,
        path_and_query: "/api/v1/namespaces/default/configmaps".to_owned(),
        content_type: "application/json".to_owned(),
        body: Some(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {"text": "x".repeat(size)},
        })),
    }
}

type Run = (CancellationToken, tokio::task::JoinHandle<i32>);

struct Case {
    root: tempfile::TempDir,
    machine: Arc<Machine>,
    arguments: Vec<String>,
    output: Arc<Captured>,
    running: Option<Run>,
    requests: usize,
    last_status: u16,
}

impl Case {
    async fn start(&mut self) {
        let mount = |name: &str, path: &str| Mount {
            name: name.to_owned(),
            container_path: path.to_owned(),
            node_path: path.to_owned(),
            read_only: false,
        };
        let root = self.root.path().to_path_buf();
        let layer = root.join("layer");
        std::fs::create_dir_all(&layer).unwrap();
        let mounts = vec![
            mount("k8s", "/etc/kubernetes"),
            mount("log", "/var/log/kubernetes"),
        ];
        let rootfs = Arc::new(Rootfs::new(root, layer, mounts));
        rootfs.prepare().unwrap();
        let terminate = CancellationToken::new();
        let process = Process {
            argv: std::iter::once("kube-apiserver".to_owned())
                .chain(self.arguments.iter().cloned())
                .collect(),
            rootfs,
            output: self.output.clone(),
            terminate: terminate.clone(),
            pid: 1,
            own_network: false,
        };
        let program = KubeApiServer::new(self.machine.clone());
        let mut api = self.machine.api.subscribe();
        let running = tokio::spawn(async move { program.run(process).await });
        tokio::time::timeout(Duration::from_secs(30), api.wait_for(Option::is_some))
            .await
            .expect("ready")
            .unwrap();
        self.running = Some((terminate, running));
    }

    async fn request(&mut self, size: usize) {
        let api = self.machine.api.borrow().clone().unwrap();
        self.requests += 1;
        let name = format!("filler-{}", self.requests);
        let response = api.call(create(&name, size)).await;
        self.last_status = response.code;
        // Names have milliseconds: two rotations within one would be one file.
        let now = jiff::Timestamp::now().as_millisecond();
        while jiff::Timestamp::now().as_millisecond() == now {
            std::hint::spin_loop();
        }
    }

    async fn perform(&mut self, action: Action) {
        match action {
            Nothing => {}
            Requests(count) => {
                for _ in 0..count {
                    self.request(BODY).await;
                    assert_eq!(self.last_status, 201);
                }
            }
            Large(size) => self.request(size).await,
            Change(change) => change(&self.directory()),
            Start => self.start().await,
            Stop => {
                let (terminate, running) = self.running.take().unwrap();
                terminate.cancel();
                assert_eq!(running.await.unwrap(), 0);
            }
            Kill => {
                let (_, running) = self.running.take().unwrap();
                running.abort();
                assert!(running.await.unwrap_err().is_cancelled());
            }
        }
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join("var/log/kubernetes/audit")
    }

    /// The first thing that is not as recorded.
    async fn difference(&mut self, row: &Value) -> Option<String> {
        let id = row["id"].as_str().unwrap();
        for step in row["steps"].as_array().unwrap() {
            let name = step["step"].as_str().unwrap();
            for action in actions(id, name) {
                self.perform(action).await;
            }
            if step["httpStatus"].is_u64() && step["httpStatus"] != self.last_status {
                return Some(format!("{name}: answered {}", self.last_status));
            }
            // Nobody waits for what happens to rotated files.
            let deadline = Instant::now() + Duration::from_secs(20);
            loop {
                match difference(&snapshot(&self.directory()), &step["snapshot"]) {
                    None => break,
                    Some(difference) if Instant::now() > deadline => {
                        return Some(format!("{name}: {difference}"));
                    }
                    Some(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        }
        let got: Vec<String> = self
            .output
            .stderr
            .lock()
            .unwrap()
            .iter()
            .map(|line| masked(line))
            .filter(|line| line.contains("Error in audit plugin"))
            .collect();
        let want = strings(&row["auditErrorsInStderr"]);
        let agree = got.len() == want.len()
            && got.iter().zip(&want).all(|(got, want)| {
                let (got, want) = (error_and_length(got), error_and_length(want));
                got.1 == want.1 && is_close(&got.0, &want.0)
            });
        (!agree).then(|| format!("errors {got:?} want {want:?}"))
    }
}

impl Case {
    async fn new(policy: &str, arguments: &[String]) -> Self {
        let root = tempfile::tempdir().unwrap();
        pki(root.path());
        let path = root.path().join("etc/kubernetes/audit-policy.yaml");
        std::fs::write(path, policy).unwrap();
        let store = tokio::task::spawn_blocking(replay::base_store)
            .await
            .unwrap();
        Self {
            root,
            machine: replay::machine(store),
            arguments: [base_arguments(), arguments.to_vec()].concat(),
            output: Arc::default(),
            running: None,
            requests: 0,
            last_status: 0,
        }
    }

    /// One that logs everything asked for, to a path in the log's directory.
    async fn logging_to(name: &str, flags: &[&str]) -> Self {
        let mut arguments = vec![
            "--audit-policy-file=/etc/kubernetes/audit-policy.yaml".to_owned(),
            format!("--audit-log-path=/var/log/kubernetes/audit/{name}"),
        ];
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let text = std::fs::read_to_string(replay::golden().join("rotation.jsonl")).unwrap();
        let row: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        Self::new(row["policy"].as_str().unwrap(), &arguments).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_leaves_the_files_a_real_one_leaves() {
    let text = std::fs::read_to_string(replay::golden().join("rotation.jsonl")).unwrap();
    let mut differences = Vec::new();
    let mut total = 0;
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let id = row["id"].as_str().unwrap().to_owned();
        if !id.contains(&std::env::var("ROTATION").unwrap_or_default()) {
            continue;
        }
        total += 1;
        let policy = row["policy"].as_str().unwrap();
        let mut case = Case::new(policy, &strings(&row["args"])).await;
        if let Some(difference) = case.difference(&row).await {
            differences.push(format!("{id}: {difference}"));
        }
        if let Some((terminate, running)) = case.running {
            terminate.cancel();
            running.await.unwrap();
        }
    }
    report::agreement("rotation", "cases", total - differences.len(), total, 0);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_the_event_and_only_a_strict_server_the_request() {
    for (mode, status) in [("blocking", 201), ("batch", 201), ("blocking-strict", 500)] {
        let mut case = Case::logging_to("full.log", &[&format!("--audit-log-mode={mode}")]).await;
        std::fs::create_dir_all(case.directory()).unwrap();
        std::os::unix::fs::symlink("/dev/full", case.directory().join("full.log")).unwrap();
        // The recorded policy leaves out RequestReceived, after which nothing can be refused.
        let policy = case.root.path().join("etc/kubernetes/audit-policy.yaml");
        let text = std::fs::read_to_string(&policy).unwrap();
        std::fs::write(policy, text.replace("omitStages: [RequestReceived]\n", "")).unwrap();
        case.start().await;
        case.request(10).await;
        assert_eq!(case.last_status, status, "{mode}");
        case.perform(Stop).await;
        let lines: Vec<String> = case
            .output
            .stderr
            .lock()
            .unwrap()
            .iter()
            .map(|line| masked(line))
            .collect();
        let at = lines
            .iter()
            .position(|line| line.ends_with("metrics.go:110] Error in audit plugin 'log' affecting 1 audit events: write /var/log/kubernetes/audit/full.log: no space left on device"))
            .unwrap_or_else(|| panic!("{mode}: {lines:#?}"));
        assert_eq!(lines[at + 1], "Impacted events:");
        assert!(
            lines[at + 2].contains(" AUDIT: id=\"")
                && lines[at + 2]
                    .contains("stage=\"RequestReceived\" ip=\"127.0.0.1\" method=\"create\""),
            "{}",
            lines[at + 2]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_line_is_torn_or_lost_by_64_clients() {
    let mut case = Case::logging_to("audit.log", &["--audit-log-maxsize=1"]).await;
    case.start().await;
    let api = case.machine.api.borrow().clone().unwrap();
    let clients: Vec<_> = (0..64)
        .map(|client| {
            let api = api.clone();
            tokio::spawn(async move {
                for number in 0..4 {
                    let name = format!("filler-{client}-{number}");
                    let response = api.call(create(&name, 40 * client)).await;
                    assert_eq!(response.code, 201);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    case.perform(Stop).await;
    let mut names = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(case.directory()).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            if let Some(name) = event["objectRef"]["name"].as_str() {
                names.insert(name.to_owned());
            }
        }
    }
    names.retain(|name| name.starts_with("filler-"));
    assert_eq!(names.len(), 64 * 4);
}
