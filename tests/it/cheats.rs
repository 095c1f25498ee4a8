//! What learners do, by mistake or on purpose, that must neither pass nor hurt: each with its exact
//! outcome, in bounded time and memory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use ckslab::node::embedded::engine::EmbeddedNode;
use ckslab::scenario::{Resolved, Scenario};
use serde_json::Value;

use crate::builder::Test;

const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const LAB: &str = "audit-02";

/// A lab of audit-02, seed 1, untouched.
struct Lab {
    test: Test,
    resolved: Resolved,
}

impl Lab {
    fn start() -> Self {
        let test = Test::new();
        test.start(LAB);
        let resolved = Scenario::find(LAB, None).unwrap().resolve(1).unwrap();
        Self { test, resolved }
    }

    /// The same, solved and graded in full.
    fn solved() -> Self {
        let lab = Self::start();
        let reference = lab.resolved.reference().unwrap();
        reference.play(&lab.node()).unwrap();
        assert_eq!(lab.grade(), "100 ");
        lab
    }

    fn node(&self) -> EmbeddedNode {
        EmbeddedNode::open(&self.test.lab(LAB)).unwrap()
    }

    /// The host path of a path that a variable of the scenario names.
    fn host(&self, variable: &str) -> std::path::PathBuf {
        self.test.node(LAB, &self.resolved.variables[variable])
    }

    fn report(&self) -> Value {
        let outcome = self.test.run_bounded(&["grade", "-o", "json"]);
        assert!(outcome.code <= 1, "{outcome:#?}");
        outcome.json()
    }

    /// Score and failing checks: `60 log entries`; blocked ones in parentheses.
    fn grade(&self) -> String {
        let report = self.report();
        let checks = report["checks"].as_array().unwrap();
        let told: Vec<String> = checks
            .iter()
            .filter_map(|check| {
                let id = check["id"].as_str().unwrap();
                match check["status"].as_str().unwrap() {
                    "fail" => Some(id.to_owned()),
                    "blocked" => Some(format!("({id})")),
                    _ => None,
                }
            })
            .collect();
        format!("{} {}", report["score"], told.join(" "))
    }

    fn until_settled(&self) {
        use ckslab::node::Node;
        let node = self.node();
        self.test.until("the node has settled", || {
            !node.api_server().unwrap().converging
        });
    }
}

/// Things that can be where a file should be.
const HOSTILE: [&str; 8] = [
    "fifo",
    "zero",
    "outside",
    "sparse",
    "directory",
    "loop",
    "socket",
    "binary",
];

fn replace(path: &Path, with: &str, outside: &Path) {
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path).unwrap();
    } else {
        let _ = fs::remove_file(path);
    }
    match with {
        "fifo" => {
            let status = std::process::Command::new("mkfifo").arg(path).status();
            assert!(status.unwrap().success());
        }
        "zero" => symlink("/dev/zero", path).unwrap(),
        "outside" => symlink(outside, path).unwrap(),
        "sparse" => fs::File::create(path).unwrap().set_len(1 << 30).unwrap(),
        "directory" => fs::create_dir(path).unwrap(),
        "loop" => symlink(path.file_name().unwrap(), path).unwrap(),
        "socket" => {
            // The directory is entered: the whole path may be too long for a socket.
            let status = std::process::Command::new("python3")
                .args([
                    "-c",
                    "import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])",
                ])
                .arg(path.file_name().unwrap())
                .current_dir(path.parent().unwrap())
                .status();
            if !status.is_ok_and(|status| status.success()) {
                fs::create_dir(path).unwrap();
            }
        }
        "binary" => fs::write(path, (0..=255).cycle().take(3 << 20).collect::<Vec<u8>>()).unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_policy_replaced_under_the_running_api_server_is_seen() {
    let lab = Lab::solved();
    let outside = lab.test.work().join("outside");
    fs::write(&outside, "private words of the host").unwrap();
    let host = lab.host("policy_path");
    let policy = fs::read(&host).unwrap();
    for what in HOSTILE {
        replace(&host, what, &outside);
        assert_eq!(lab.grade(), "75 sees-policy unchanged", "{what}");
        let report = lab.test.run_bounded(&["grade"]);
        assert_eq!(report.code, 1, "{what}");
        assert!(!report.stdout.contains("private words"), "{what}");
    }
    fs::remove_file(&host).unwrap();
    fs::write(&host, &policy).unwrap();
    // The same text, but another file than the one that is mounted.
    assert_eq!(lab.grade(), "85 sees-policy");
}

#[test]
fn a_manifest_replaced_by_something_else_is_no_manifest() {
    let lab = Lab::solved();
    let outside = lab.test.work().join("outside");
    fs::write(&outside, "private words of the host").unwrap();
    let host = lab.test.node(LAB, MANIFEST);
    let manifest = fs::read(&host).unwrap();
    for what in HOSTILE {
        replace(&host, what, &outside);
        lab.until_settled();
        assert_eq!(
            lab.grade(),
            "0 (manifest-flag) (mount-policy) (policy-flag) running (sees-policy) (log) (entries) (unchanged)",
            "{what}"
        );
        let status = lab.test.run_bounded(&["status", "-o", "json"]).ok();
        assert_eq!(status.json()["apiserver"]["state"], "absent", "{what}");
        assert!(!status.stdout.contains("private words"), "{what}");
        for command in [
            &["exec", "--", "crictl", "ps", "-a"][..],
            &["exec", "--", "journalctl", "-u", "kubelet", "-n", "5"],
        ] {
            lab.test.run_bounded(command).ok();
        }
    }
    let _ = fs::remove_file(&host);
    fs::write(&host, &manifest).unwrap();
    assert_eq!(lab.grade(), "100 ");
}

#[test]
fn a_log_replaced_by_something_else_has_no_entries() {
    let lab = Lab::solved();
    let outside = lab.test.work().join("outside");
    fs::write(&outside, "private words of the host").unwrap();
    for what in HOSTILE {
        replace(&lab.host("log_path"), what, &outside);
        assert_eq!(lab.grade(), "55 log entries (unchanged)", "{what}");
    }
}

#[test]
fn a_second_manifest_with_the_right_flags_is_a_second_pod_of_that_name() {
    let lab = Lab::start();
    // The broken one stays; its repaired copy lies beside it.
    let host = lab.test.node(LAB, MANIFEST);
    let broken = fs::read(&host).unwrap();
    lab.resolved.reference().unwrap().play(&lab.node()).unwrap();
    lab.until_settled();
    let right = fs::read(&host).unwrap();
    fs::write(&host, &broken).unwrap();
    lab.until_settled();
    let second = host.with_file_name("audit-apiserver.yaml");
    fs::write(&second, &right).unwrap();
    lab.until_settled();
    let report = lab.report();
    assert_eq!(report["passed"], false);
    let seen = lab.grade();
    assert!(
        seen.contains("manifest-flag") && seen.contains("mount-policy"),
        "{seen}"
    );
    fs::remove_file(&second).unwrap();
    fs::write(&host, &right).unwrap();
    assert_eq!(lab.grade(), "100 ");
}

#[test]
fn a_right_manifest_that_no_kubelet_has_seen_changes_nothing() {
    let lab = Lab::start();
    lab.test
        .run(["exec", "--", "systemctl", "stop", "kubelet"])
        .ok();
    lab.resolved.reference().unwrap().play(&lab.node()).unwrap();
    assert_eq!(
        lab.grade(),
        "20 policy-flag (running) sees-policy log entries (unchanged)"
    );
    lab.test
        .run(["exec", "--", "systemctl", "start", "kubelet"])
        .ok();
    assert_eq!(lab.grade(), "100 ");
    // The other way round: what runs is right, what is on disk is not.
    lab.test
        .run(["exec", "--", "systemctl", "stop", "kubelet"])
        .ok();
    let host = lab.test.node(LAB, MANIFEST);
    let text = fs::read_to_string(&host).unwrap();
    let bent = text.replace("--audit-policy-file=", "--audit-polcy-file=");
    fs::write(&host, bent).unwrap();
    let seen = lab.grade();
    assert!(seen.contains("manifest-flag"), "{seen}");
    assert_eq!(lab.report()["passed"], false);
}

#[test]
fn entries_of_an_earlier_time_are_no_entries() {
    let lab = Lab::solved();
    let log = lab.host("log_path");
    let past = fs::read(&log).unwrap();
    // Auditing ends; the real lines of before are written again while the grader looks.
    let host = lab.test.node(LAB, MANIFEST);
    let text = fs::read_to_string(&host).unwrap();
    let without: String = text
        .lines()
        .filter(|line| !line.contains("--audit-policy-file="))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&host, without).unwrap();
    lab.until_settled();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::io::Write;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
                file.write_all(&past).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        let seen = lab.grade();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        seen
    });
    assert_eq!(
        seen,
        "0 manifest-flag mount-policy policy-flag (running) sees-policy log entries (unchanged)"
    );
}

#[test]
fn a_doctored_snapshot_is_not_believed() {
    let lab = Lab::start();
    let before = lab.grade();
    let path = lab.test.lab(LAB).join("state/snapshot.json");
    let doctor = || {
        let mut snapshot: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for container in snapshot["containers"].as_array_mut().unwrap() {
            if container["name"] == "kube-apiserver" {
                let argv = container["argv"].as_array_mut().unwrap();
                argv.push("--audit-policy-file=/etc/kubernetes/made-up.yaml".into());
            }
        }
        fs::write(&path, snapshot.to_string()).unwrap();
    };
    doctor();
    assert_eq!(lab.grade(), before);
    let status = lab.test.run(["status", "-o", "json"]).ok();
    assert!(!status.stdout.contains("made-up"));
    // Without the socket the file is all there is: then the grade says so.
    fs::remove_file(lab.test.lab(LAB).join("state/node.sock")).unwrap();
    doctor();
    let notes = lab.report()["notes"].to_string();
    assert!(
        notes.contains("the node process does not answer"),
        "{notes}"
    );
}

#[test]
fn control_characters_of_the_node_do_not_reach_the_terminal() {
    let lab = Lab::start();
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[31mred\u{9b}2J\u{202e}";
    let dir = lab.test.node(LAB, "/etc/kubernetes/manifests");
    fs::write(dir.join(format!("a{evil}.yaml")), "kind: [\n").unwrap();
    fs::write(
        lab.host("policy_path"),
        format!("apiVersion: audit.k8s.io/v1\nkind: \"{evil}\"\nrules: []\n")
            .replace('\u{1b}', "\\e"),
    )
    .unwrap();
    let manifest = lab.test.node(LAB, MANIFEST);
    let text = fs::read_to_string(&manifest).unwrap();
    let flag = format!(
        "    - \"--audit-log-maxage={}\"\n",
        evil.replace('\u{1b}', "\\e")
    );
    let text: String = text
        .lines()
        .map(|line| match line.contains("--audit-log-maxage=") {
            true => flag.clone(),
            false => format!("{line}\n"),
        })
        .collect();
    fs::write(&manifest, text).unwrap();
    lab.until_settled();
    let event = serde_json::json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": evil,
        "stage": "ResponseComplete", "requestURI": format!("/api/{evil}"), "verb": evil,
        "user": {"username": evil}, "responseStatus": {"code": 200, "message": evil},
        "objectRef": {"resource": evil, "namespace": evil, "name": evil},
        "requestReceivedTimestamp": "2026-11-20T10:00:00.000000Z", "stageTimestamp": "2026-11-20T10:00:00.000000Z",
    });
    let log = lab.host("log_path");
    fs::write(&log, format!("{event}\n{evil}\n")).unwrap();
    let log = log.to_str().unwrap();
    let policy = lab.host("policy_path");
    for command in [
        &["status"][..],
        &["grade"],
        &["grade", "-o", "junit"],
        &["grade", "-o", "json"],
        &["status", "-o", "json"],
        &["audit", "query", log],
        &["audit", "query", log, "-o", "json"],
        &["audit", "query", log, "-o", "jsonl"],
        &["audit", "summary", log],
        &["policy", "lint", policy.to_str().unwrap()],
    ] {
        let outcome = lab.test.run_bounded(command);
        for text in [&outcome.stdout, &outcome.stderr] {
            let bad: Vec<char> = text
                .chars()
                .filter(|c| (c.is_control() && *c != '\n' && *c != '\t') || *c == '\u{202e}')
                .collect();
            assert_eq!(bad, [], "{command:?}: {text:?}");
        }
    }
}

#[test]
fn a_junit_report_is_xml_that_says_the_same_as_the_json() {
    let lab = Lab::start();
    // Texts that XML cannot hold as they are.
    let policy =
        "apiVersion: audit.k8s.io/v1\nkind: \"<&'\\\"]]>\\u0001\\uFFFE\\u00e9\"\nrules: []\n";
    fs::write(lab.host("policy_path"), policy).unwrap();
    lab.resolved.reference().unwrap().play(&lab.node()).unwrap();
    lab.until_settled();
    let json = lab.report();
    let xml = lab.test.run_bounded(&["grade", "-o", "junit"]).code(1);
    let document =
        roxmltree::Document::parse(&xml.stdout).unwrap_or_else(|e| panic!("{e}: {xml:?}"));
    let suites = document.root_element();
    assert_eq!(suites.tag_name().name(), "testsuites");
    let suite = suites.first_element_child().unwrap();
    let cases: Vec<_> = suite
        .children()
        .filter(|n| n.has_tag_name("testcase"))
        .collect();
    let told: Vec<String> = cases
        .iter()
        .map(|case| {
            let status = match case
                .first_element_child()
                .map(|c| c.tag_name().name().to_owned())
            {
                None => "pass",
                Some(name) if name == "failure" => "fail",
                Some(_) => "blocked",
            };
            format!("{} {status}", case.attribute("name").unwrap())
        })
        .collect();
    let expected: Vec<String> = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            format!(
                "{} {}",
                c["id"].as_str().unwrap(),
                c["status"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(told, expected);
    let count = |status: &str| {
        let ending = format!(" {status}");
        expected
            .iter()
            .filter(|c| c.ends_with(&ending))
            .count()
            .to_string()
    };
    for element in [suites, suite] {
        assert_eq!(
            element.attribute("tests"),
            Some(expected.len().to_string().as_str())
        );
        assert_eq!(element.attribute("failures"), Some(count("fail").as_str()));
        assert_eq!(
            element.attribute("skipped"),
            Some(count("blocked").as_str())
        );
    }
    let properties: Vec<(&str, &str)> = suite
        .descendants()
        .filter(|n| n.has_tag_name("property"))
        .map(|n| (n.attribute("name").unwrap(), n.attribute("value").unwrap()))
        .collect();
    assert!(properties.contains(&("score", json["score"].to_string().as_str())));
    assert!(properties.contains(&("passed", "false")));
}
