//! The kubelet against what a real one did (golden data in fixtures/golden/static-pod), with a
//! fake clock and an API server that only starts, fails or serves as its files and flags say.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use ckslab::audit::options::AuditOptions;
use ckslab::audit::policy::load_file;
use ckslab::manifest::ProbeAction;
use ckslab::node::embedded::confine::Confined;
use ckslab::node::embedded::kubelet::journal::Moment;
use ckslab::node::embedded::kubelet::probe::{ProbeAnswer, ProbeKind};
use ckslab::node::embedded::kubelet::state::{Effect, Input, Kubelet, Setting};
use ckslab::node::embedded::pace::Pace;
use ckslab::node::embedded::process::go_error_text;
use ckslab::node::embedded::snapshot::{ContainerSnapshot, MANIFESTS, NodeSnapshot};
use jiff::Timestamp;
use serde_json::Value;

use crate::report;

const CASES: &str = "fixtures/golden/static-pod/cases.jsonl.gz";
const KIND_CASES: &str = "fixtures/golden/static-pod/kind-cases.jsonl.gz";
fn cases(path: &str) -> Vec<Value> {
    let file = std::fs::File::open(path).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// When the recorded kubelet scanned its directory after the first edit: the phase of its 20
/// seconds is the one thing about a case that nothing but the recording tells.
fn scan_phase(case: &Value) -> f64 {
    let lines = |kind: &str| case[kind].as_array().unwrap().clone();
    let refused = lines("kubelet_log_default_verbosity")
        .into_iter()
        .find(|e| text(e, "/line").contains("file.go:187"));
    // Repeated lines are folded: the last time of the only entry is the scan's.
    let taken = || {
        let adds = lines("kubelet_log_higher_verbosity");
        adds.into_iter()
            .find(|e| text(e, "/line").contains("SyncLoop ADD"))
    };
    let other_files = case["other_files_in_manifest_dir"].as_object();
    let competing = other_files.is_some_and(|f| f.keys().any(|name| !name.starts_with('.')));
    let event = if competing { taken() } else { refused };
    let time = if competing { "last_t" } else { "t" };
    let phase = event.and_then(|e| e.get(time).and_then(Value::as_f64));
    phase.unwrap_or(13.0) % 20.0
}

/// A node with a fake clock.
struct Sim {
    dir: tempfile::TempDir,
    node: Confined,
    kubelet: Kubelet,
    now: Duration,
    start: Timestamp,
    later: Vec<(Duration, Input)>,
    listing: BTreeMap<String, (u64, i64, i64)>,
    journal: Vec<(Duration, String)>,
    /// Last line of each container that ended by itself.
    errors: BTreeMap<String, String>,
    started: BTreeMap<String, Duration>,
    /// Containers seen, in order, in their latest state.
    seen: Vec<ContainerSnapshot>,
    old: String,
    old_end: Duration,
    /// When the first edit comes, since the node came up; scans come every 20 seconds.
    t0: Duration,
    /// Whether SIGTERM is not enough (open watches keep the server alive).
    stubborn: bool,
}

impl Sim {
    fn new(node_name: &str, baseline: &str, stubborn: bool, seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir_all(dir.path().join("state")).unwrap();
        let node = Confined::new(&root);
        node.write_atomic("/etc/kubernetes/pki/sa.key", b"key", 0o600)
            .unwrap();
        node.create_dir_all("/root", 0o700).unwrap();
        let manifest = format!("{MANIFESTS}/kube-apiserver.yaml");
        node.write_atomic(&manifest, baseline.as_bytes(), 0o600)
            .unwrap();
        let start: Timestamp = "2026-11-24T07:00:00Z".parse().unwrap();
        let setting = Setting {
            node_name: node_name.to_owned(),
            node_ip: "172.18.0.2".into(),
            pace: Pace::Real,
            node_root: root,
            state_dir: dir.path().join("state"),
            programs: vec!["kube-apiserver".into()],
            seed,
        };
        let moment = Moment {
            at: Duration::ZERO,
            wall: start,
        };
        let mut sim = Self {
            kubelet: Kubelet::new(setting, moment, None),
            dir,
            node,
            now: Duration::ZERO,
            start,
            later: Vec::new(),
            listing: BTreeMap::new(),
            journal: Vec::new(),
            errors: BTreeMap::new(),
            started: BTreeMap::new(),
            seen: Vec::new(),
            old: String::new(),
            old_end: Duration::ZERO,
            t0: Duration::ZERO,
            stubborn,
        };
        sim.listing = sim.list();
        sim
    }

    fn list(&self) -> BTreeMap<String, (u64, i64, i64)> {
        use std::os::unix::fs::MetadataExt;
        let names = self.node.list(MANIFESTS).unwrap_or_default();
        names
            .into_iter()
            .map(|name| {
                let m = self
                    .node
                    .symlink_metadata(&format!("{MANIFESTS}/{name}"))
                    .unwrap();
                (name, (m.ino(), m.mtime(), m.mtime_nsec()))
            })
            .collect()
    }

    /// What inotify would tell since the last call.
    fn changes(&mut self) -> Vec<Input> {
        let now = self.list();
        let mut inputs = Vec::new();
        for name in self.listing.keys().filter(|name| !now.contains_key(*name)) {
            let name = name.clone();
            inputs.push(Input::File {
                name,
                removed: true,
            });
        }
        for (name, state) in &now {
            if self.listing.get(name) != Some(state) {
                let name = name.clone();
                inputs.push(Input::File {
                    name,
                    removed: false,
                });
            }
        }
        self.listing = now;
        inputs
    }

    /// Lets the time pass up to `until`, doing everything on the way.
    fn run(&mut self, until: Duration) {
        for turn in 0.. {
            assert!(
                turn < 20_000,
                "the kubelet spins at {:?}: {:?}",
                self.now,
                self.kubelet.deadline()
            );
            let due = self.later.iter().map(|(at, _)| *at).min();
            let next = [due, self.kubelet.deadline()].into_iter().flatten().min();
            match next {
                Some(next) if next <= until => {
                    self.now = self.now.max(next);
                    let now = self.now;
                    let mut inputs = Vec::new();
                    self.later.retain(|(at, input)| {
                        if *at <= now {
                            inputs.push(input.clone());
                        }
                        *at > now
                    });
                    self.step(inputs);
                }
                _ => {
                    self.now = until;
                    self.step(Vec::new());
                    return;
                }
            }
        }
    }

    fn step(&mut self, inputs: Vec<Input>) {
        let wall = self.start.checked_add(self.now).unwrap();
        let moment = Moment { at: self.now, wall };
        // Probes alone change no container of interest.
        let mut quiet = inputs.iter().all(|i| matches!(i, Input::Probed { .. }));
        for effect in self.kubelet.step(moment, inputs) {
            quiet &= matches!(effect, Effect::Probe { .. });
            self.carry_out(effect);
        }
        let now = self.now;
        let lines = self.journal.len();
        self.journal.extend(
            self.kubelet
                .take_journal()
                .into_iter()
                .map(|line| (now, line)),
        );
        if quiet && self.journal.len() == lines {
            return;
        }
        for view in self.kubelet.snapshot().containers {
            match self.seen.iter_mut().find(|c| c.id == view.id) {
                Some(known) => *known = view,
                None => self.seen.push(view),
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let in_a_moment = |ms| self.now + Duration::from_millis(ms);
        match effect {
            Effect::Start(view, _) => {
                let container = view.id.clone();
                self.started.insert(container.clone(), self.now);
                let state = self.dir.path().join("state");
                if let Err(error) = serve(&view, self.node.root(), &state) {
                    self.errors.insert(container.clone(), error);
                    self.later
                        .push((in_a_moment(700), Input::Exited { container, code: 1 }));
                }
            }
            Effect::Terminate(container) if !self.stubborn => {
                // How long the first server took to shut down is part of the recording.
                let end = if container == self.old {
                    self.old_end
                } else {
                    Duration::ZERO
                };
                let end = end.max(in_a_moment(300)).min(in_a_moment(6000));
                self.later.push((end, Input::Exited { container, code: 0 }));
            }
            Effect::Terminate(_) => {}
            Effect::Kill(container) => {
                self.later.push((
                    in_a_moment(1),
                    Input::Exited {
                        container,
                        code: 137,
                    },
                ));
            }
            Effect::Probe {
                container,
                kind,
                probe,
            } => {
                let answer = self.answer(&container, kind, &probe.action);
                self.later.push((
                    in_a_moment(5),
                    Input::Probed {
                        container,
                        kind,
                        answer,
                    },
                ));
            }
        }
    }

    fn answer(&self, container: &str, _: ProbeKind, action: &ProbeAction) -> ProbeAnswer {
        let ProbeAction::Http { port, path, .. } = action else {
            return ProbeAnswer::Success;
        };
        let up = self
            .started
            .get(container)
            .is_some_and(|at| self.now >= *at + Duration::from_secs(6));
        let address = format!("172.18.0.2:{port}").replace("probe-port", "6443");
        if !up || !address.ends_with(":6443") {
            return ProbeAnswer::Failure(format!(
                "Get \"https://{address}{path}\": dial tcp {address}: connect: connection refused"
            ));
        }
        if ["/livez", "/readyz", "/healthz"].contains(&path.as_str()) {
            ProbeAnswer::Success
        } else {
            ProbeAnswer::Failure("HTTP probe failed with statuscode: 403".into())
        }
    }

    fn perform(&mut self, op: &Value) {
        let manifest_path = text(op, "/path");
        match text(op, "/op") {
            "write" => {
                let mode = u32::from_str_radix(text(op, "/mode"), 8).unwrap_or(0o644);
                let content = text(op, "/content").as_bytes();
                self.node
                    .write_atomic(manifest_path, content, mode)
                    .unwrap();
            }
            "mkdir" => self.node.create_dir_all(manifest_path, 0o755).unwrap(),
            "mv" => self
                .node
                .rename(text(op, "/args/0"), text(op, "/args/1"))
                .unwrap(),
            "rm" => self.node.remove_all(text(op, "/args/0")).unwrap(),
            "touch" => {
                let path = text(op, "/args/0");
                let bytes = self.node.read(path, 1 << 20).unwrap();
                self.node.write_atomic(path, &bytes, 0o600).unwrap();
            }
            "sh" => {
                let root = self.node.root().to_str().unwrap();
                let script = text(op, "/script").replace(" /etc/", &format!(" {root}/etc/"));
                assert!(!script.contains(" /root"), "{script}");
                let done = std::process::Command::new("sh")
                    .args(["-c", &script])
                    .status();
                assert!(done.unwrap().success());
            }
            "sleep" | "wait_down" | "wait_ready" => {}
            other => panic!("unknown step {other}"),
        }
    }

    /// What a case looks like at its end.
    fn replay(case: &Value, stubborn: bool, baseline: &str, seed: u64) -> Sim {
        let pod = text(case, "/summary/pods_at_end/0/pod");
        let node_name = pod
            .strip_prefix("kube-apiserver-")
            .unwrap_or("cks-control-plane");
        let mut sim = Sim::new(node_name, baseline, stubborn, seed);
        sim.t0 = Duration::from_secs_f64(80.0 - scan_phase(case));
        sim.run(sim.t0);
        let end = case
            .pointer("/summary/old_container/0/finished_t")
            .and_then(Value::as_f64);
        sim.old_end = end.map_or(Duration::ZERO, |end| sim.at(end));
        sim.old = sim.seen.last().unwrap().id.clone();
        for op in case
            .get("setup")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            sim.perform(op);
        }
        for op in case
            .get("steps")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            sim.run(sim.at(op.get("t").and_then(Value::as_f64).unwrap_or(0.0)));
            sim.perform(op);
            let inputs = sim.changes();
            sim.step(inputs);
        }
        sim.run(sim.at(case.get("observed_s").and_then(Value::as_f64).unwrap()));
        sim
    }

    fn seconds(&self, time: Option<Timestamp>) -> Option<f64> {
        let since = time?.duration_since(self.start).as_secs_f64();
        Some(since - self.t0.as_secs_f64())
    }

    fn at(&self, seconds: f64) -> Duration {
        self.t0 + Duration::from_secs_f64(seconds.max(0.0))
    }
}

/// What kube-apiserver does at its start with the files it sees; the last line when it fails.
fn serve(view: &ContainerSnapshot, root: &Path, state: &Path) -> Result<(), String> {
    let rootfs = view.rootfs(root, state);
    let klog = |text: String| {
        let quoted = ckslab::yaml::go::quote(&text);
        format!("E<DATE> <TIME> <PID> run.go:72] \"command failed\" err={quoted}")
    };
    let options = AuditOptions::from_argv(&view.argv).map_err(|error| format!("Error: {error}"))?;
    let key = "/etc/kubernetes/pki/sa.key";
    if let Err(error) = rootfs.read(key, 1 << 20) {
        return Err(klog(format!("open {key}: {}", go_error_text(&error))));
    }
    if !options.policy_file.is_empty() {
        load_file(&options.policy_file, |path| rootfs.read(path, 10 << 20))
            .map_err(|error| klog(format!("loading audit policy file: {error}")))?;
    }
    let log = &options.log.path;
    if !log.is_empty() && log != "-" {
        let (parent, _) = log.rsplit_once('/').unwrap();
        let opened = rootfs
            .create_dir_all(parent, 0o700)
            .and_then(|()| rootfs.append(log, 0o600).map(drop));
        opened.map_err(|e| klog(format!("ensureLogFile: open {log}: {}", go_error_text(&e))))?;
    }
    Ok(())
}

/// A journal line without its header and without what differs between any two nodes.
fn plain(line: &str) -> String {
    let message = line.split_once("] ").map_or(line, |(_, message)| message);
    message.to_owned()
}

/// Lines of file.go as (source, text), without the artefacts of writing a file in place.
fn file_lines<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    lines
        .filter(|line| line.contains(" file.go:"))
        .filter(|line| {
            !line.contains("Object 'Kind' is missing in 'null'") || line.contains("file.go:187")
        })
        .filter(|line| !line.contains("/sed"))
        .map(plain)
        .collect()
}

/// A journal line without UIDs and times.
fn masked_line(line: &str, uids: &BTreeSet<&str>) -> String {
    let mut line = line.to_owned();
    for uid in uids {
        line = line.replace(uid, "UID");
    }
    for n in 1..6 {
        line = line.replace(&format!("<U{n}>"), "UID");
    }
    if let (Some(from), Some(to)) = (line.find("permitted until "), line.find(" (durationBefore")) {
        line.replace_range(from..to, "");
    }
    line
}

struct Differences(Vec<String>);

impl Differences {
    fn check(&mut self, ok: bool, what: impl FnOnce() -> String) {
        if !ok {
            self.0.push(what());
        }
    }
}

fn is_crash_loop(status: &Value) -> bool {
    status
        .get("restartCount")
        .and_then(Value::as_u64)
        .unwrap_or(0)
        > 0
        && status.pointer("/lastState").is_some_and(|last| {
            text(last, "/reason") != "Completed" && !text(last, "/reason").is_empty()
        })
}

/// The container status of the golden data has other field names than the API's.
fn golden_form(status: &Value) -> Value {
    let state = |value: Option<&Value>| {
        let Some((kind, detail)) = value
            .and_then(Value::as_object)
            .and_then(|map| map.iter().next())
        else {
            return Value::Null;
        };
        let mut out = detail.clone();
        out["state"] = Value::from(kind.as_str());
        out
    };
    serde_json::json!({
        "restartCount": status["restartCount"],
        "ready": status["ready"],
        "state": state(status.get("state")),
        "lastState": state(status.get("lastState")),
    })
}

fn compare(case: &Value, sim: &mut Sim) -> Vec<String> {
    let mut d = Differences(Vec::new());
    let observed = case["observed_s"].as_f64().unwrap();
    let snapshot: NodeSnapshot = sim.kubelet.snapshot();

    // The journal's lines about manifests.
    let golden = case["kubelet_log_default_verbosity"].as_array().unwrap();
    let expected = file_lines(golden.iter().map(|e| text(e, "/line")));
    let ours = file_lines(
        sim.journal
            .iter()
            .filter(|(t, _)| *t >= sim.t0)
            .map(|(_, l)| l.as_str()),
    );
    // A file written in two parts was read half once (pub-39).
    let half = expected.iter().filter(|l| !ours.contains(*l)).count() == 1 && ours.is_empty();
    d.check(expected == ours || half, || {
        format!("journal: {expected:#?}\nours {ours:#?}")
    });

    // Its lines about containers and volumes.
    let seen = sim.seen.iter().map(|c| c.pod_uid.as_str());
    let uids: BTreeSet<&str> = seen
        .chain(snapshot.pods.iter().map(|p| p.uid.as_str()))
        .collect();
    let pod_lines = |lines: &mut dyn Iterator<Item = &str>| -> BTreeSet<String> {
        let sources = ["nestedpendingoperations.go:348", "pod_workers.go:1324"];
        lines
            .filter(|line| sources.iter().any(|source| line.contains(source)))
            .filter(|line| !line.contains("PullBackOff") && !line.contains("ErrImagePull"))
            .map(|line| masked_line(&plain(line), &uids))
            .collect()
    };
    let expected = pod_lines(&mut golden.iter().map(|e| text(e, "/line")));
    let mut since = sim
        .journal
        .iter()
        .filter(|(t, _)| *t >= sim.t0)
        .map(|(_, l)| l.as_str());
    let ours = pod_lines(&mut since);
    if !sim.stubborn {
        // The last back-off may fall on either side of the end of the observation.
        let apart = expected.symmetric_difference(&ours).count();
        let crash = ours.iter().any(|line| line.contains("CrashLoopBackOff"));
        d.check(apart <= usize::from(crash), || {
            format!("pod lines {expected:#?}\nours {ours:#?}")
        });
    }

    // Pods.
    let pods = case
        .pointer("/summary/pods_at_end")
        .and_then(Value::as_array)
        .unwrap();
    d.check(pods.len() == snapshot.pods.len(), || {
        format!("{} pods, ours {}", pods.len(), snapshot.pods.len())
    });
    for (golden, ours) in pods.iter().zip(&snapshot.pods) {
        d.check(text(golden, "/pod") == ours.name, || {
            format!("pod {}", ours.name)
        });
        let phase = text(&ours.status, "/phase");
        d.check(text(golden, "/phase") == phase, || format!("phase {phase}"));
        d.check(
            text(golden, "/reason") == text(&ours.status, "/reason"),
            || "pod reason".into(),
        );
        let Some(status) = ours.status.pointer("/containerStatuses/0").map(golden_form) else {
            d.check(golden["state"].is_null(), || "no container status".into());
            continue;
        };
        let restarts = |s: &Value| s["restartCount"].as_i64().unwrap_or(0);
        if is_crash_loop(golden) {
            d.check(is_crash_loop(&status), || {
                format!("not a crash loop: {status}")
            });
            d.check((restarts(golden) - restarts(&status)).abs() <= 1, || {
                format!("restarts {} ours {}", restarts(golden), restarts(&status))
            });
            let last = |s: &Value| {
                (
                    text(s, "/lastState/reason").to_owned(),
                    s["lastState"]["exitCode"].as_i64(),
                )
            };
            d.check(last(golden) == last(&status), || {
                format!("last state {status}")
            });
        } else {
            d.check(restarts(golden) == restarts(&status), || {
                format!("restarts {status}")
            });
            d.check(
                text(golden, "/state/state") == text(&status, "/state/state"),
                || format!("state {} ours {}", golden["state"], status["state"]),
            );
            let reasons = (
                text(golden, "/state/reason"),
                text(&status, "/state/reason"),
            );
            let pulls = ["ErrImagePull", "ImagePullBackOff"];
            let same = reasons.0 == reasons.1
                || (pulls.contains(&reasons.0) && pulls.contains(&reasons.1));
            d.check(same, || format!("reason {reasons:?}"));
            // A server that came up in the last seconds of the observation may not be ready yet.
            let late = case["summary"]["api_ready_again_t"]
                .as_f64()
                .is_some_and(|t| t > observed - 10.0);
            d.check(golden["ready"] == status["ready"] || late, || {
                "ready".into()
            });
        }
    }

    // Containers: the old one's end, the new ones.
    let old = sim.seen.iter().find(|c| c.id == sim.old).unwrap();
    let golden_end = case
        .pointer("/summary/old_container/0/finished_t")
        .and_then(Value::as_f64);
    let killed = case
        .pointer("/summary/killing_event_t/0")
        .and_then(Value::as_f64);
    let our_end = sim.seconds(old.finished).filter(|t| *t >= -0.01);
    let told = killed.is_some() || golden_end.is_some();
    d.check(told == our_end.is_some() || sim.stubborn && !told, || {
        format!("old ended {our_end:?}")
    });
    if let (Some(golden), Some(ours)) = (golden_end.or(killed), our_end) {
        // A server that shut down slowly (pub-30: 4 seconds) is no matter of the kubelet.
        let allowed = if sim.stubborn { 5.0 } else { 5.5 };
        d.check((golden - ours).abs() <= allowed, || {
            format!("old ended at {ours}, real {golden}")
        });
        let code = case
            .pointer("/summary/old_container/0/exit_code")
            .and_then(Value::as_i64);
        if let Some(code) = code {
            d.check(old.exit_code.map(i64::from) == Some(code), || {
                format!("old exit {:?}", old.exit_code)
            });
        }
    }
    let new: Vec<&ContainerSnapshot> = sim.seen.iter().filter(|c| c.id != sim.old).collect();
    let count = case["summary"]["new_containers"].as_i64().unwrap();
    let ours = i64::try_from(new.len()).unwrap();
    let tolerance = i64::from(count > 2);
    d.check((count - ours).abs() <= tolerance, || {
        format!("{count} new containers, ours {ours}")
    });
    let first = case["summary"]["first_new_container_created_t"].as_f64();
    let our_first = new.first().and_then(|c| sim.seconds(Some(c.created)));
    if let (Some(first), Some(ours)) = (first, our_first) {
        // Waits of 10 to 15 seconds are jittered.
        let allowed = if sim.stubborn { 16.0 } else { 5.5 };
        d.check((first - ours).abs() <= allowed, || {
            format!("created at {ours}, real {first}")
        });
    }
    let codes = |values: &mut dyn Iterator<Item = Option<i64>>| -> BTreeSet<i64> {
        values.flatten().collect()
    };
    let golden_codes = codes(
        &mut case["summary"]["exit_codes_of_new_containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(Value::as_i64),
    );
    let our_codes = codes(&mut new.iter().map(|c| c.exit_code.map(i64::from)));
    d.check(golden_codes == our_codes, || {
        format!("exit codes {golden_codes:?} ours {our_codes:?}")
    });

    // The last line of a container that crashed.
    for container in case["containers"].as_array().unwrap() {
        let logs = &case["container_logs"][text(container, "/id")];
        let lines = logs
            .get("all")
            .or_else(|| logs.get("last"))
            .and_then(Value::as_array);
        let last = lines
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .rfind(|l| !l.contains("[core]"));
        if container["is_baseline"] == Value::Bool(false) && container["exit_code"] == 1 {
            let last = last.unwrap().trim_start_matches("stderr: ");
            d.check(sim.errors.values().any(|e| e == last), || {
                format!("error {last:?} ours {:?}", sim.errors)
            });
        }
    }

    // Events, but for probes of a server that was busy and pulls over a network.
    let interesting = |reason: &str, message: &str| {
        reason != "Unhealthy" && !message.contains("pull") && !message.contains("Pull")
    };
    let mask = |message: &str, uids: &[String]| {
        let mut message = message.to_owned();
        for uid in uids {
            message = message.replace(uid.as_str(), "UID");
        }
        for n in 1..6 {
            message = message.replace(&format!("<U{n}>"), "UID");
        }
        message
    };
    let uids: Vec<String> = sim.seen.iter().map(|c| c.pod_uid.clone()).collect();
    let expected: BTreeSet<(String, String)> = case["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| interesting(text(e, "/reason"), text(e, "/message")))
        .map(|e| {
            (
                text(e, "/reason").to_owned(),
                mask(text(e, "/message"), &uids),
            )
        })
        .collect();
    let ours: BTreeSet<(String, String)> = snapshot
        .events
        .iter()
        .filter(|e| sim.seconds(Some(e.last)).unwrap() >= 0.0)
        .filter(|e| interesting(&e.reason, &e.message))
        .map(|e| (e.reason.clone(), mask(&e.message, &uids)))
        .collect();
    if !sim.stubborn {
        d.check(expected == ours, || {
            format!("events {expected:#?}\nours {ours:#?}")
        });
    }

    // Files on the node.
    for file in case["files_after"].as_array().into_iter().flatten() {
        let path = text(file, "/path");
        let kind = match sim.node.metadata(path) {
            Ok(m) if m.is_dir() => "dir",
            Ok(_) => "file",
            Err(_) => "absent",
        };
        d.check(text(file, "/kind") == kind, || {
            format!("{path} is {kind}, real {}", file["kind"])
        });
        use std::os::unix::fs::PermissionsExt;
        if let (Ok(m), Ok(mode)) = (
            sim.node.metadata(path),
            u32::from_str_radix(text(file, "/mode"), 8),
        ) {
            let ours = m.permissions().mode() & 0o7777;
            d.check(ours == mode, || {
                format!("{path} has mode {ours:o}, real {mode:o}")
            });
        }
    }
    d.0
}

/// Replays every case of a file; says how many agree; gives the ids that differ.
fn replay_all(name: &str, path: &str, stubborn: bool, baseline: &str) -> Vec<String> {
    let cases = cases(path);
    let mut differing = Vec::new();
    for case in &cases {
        // The kubelet's own jitter (10 to 15 seconds) is chance: one of a few throws must do.
        let mut differences = Vec::new();
        for seed in [7, 20, 4711] {
            let mut sim = Sim::replay(case, stubborn, baseline, seed);
            differences = compare(case, &mut sim);
            if differences.is_empty() {
                break;
            }
        }
        let id = text(case, "/id").to_owned();
        if !differences.is_empty() {
            println!("{name} {id} DIFFERS: {}", text(case, "/title"));
            differences
                .iter()
                .for_each(|difference| println!("    {difference}"));
            differing.push(id);
        }
    }
    report::agreement(name, "cases", cases.len() - differing.len(), cases.len(), 0);
    differing
}

#[test]
fn standalone_kubelet() {
    let baseline = include_str!("../../fixtures/golden/static-pod/baseline.yaml");
    let differing = replay_all("static-pod", CASES, false, baseline);
    assert_eq!(differing, Vec::<String>::new());
}

#[test]
fn kubelet_of_a_cluster() {
    let baseline = include_str!("../../fixtures/golden/static-pod/baseline-kind.yaml");
    let differing = replay_all("static-pod of kind", KIND_CASES, true, baseline);
    assert_eq!(differing, Vec::<String>::new());
}
