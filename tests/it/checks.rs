//! The kinds of checks, each on a node made for it: what passes, what fails, and what the report says.

use std::time::Duration;

use ckslab::grade::run::grade_with;
use ckslab::grade::{CheckStatus, Options, Report};
use ckslab::node::{FileChange, Node};
use ckslab::scenario::{Baseline, Resolved, Scenario, lint};

use super::fake_node::FakeNode;

/// A lab of a scenario that consists of a setup and of checks.
pub struct Lab {
    pub node: FakeNode,
    pub resolved: Resolved,
    baseline: Baseline,
}

/// The scenario `x-01` with this setup and these checks; `more` are further lines of its file.
pub fn scenario(setup: &str, checks: &str, more: &str) -> Scenario {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("x-01");
    std::fs::create_dir(&folder).unwrap();
    let text = format!(
        "format: 1\nid: x-01\ntitle: X\ngroup: protect\ndifficulty: easy\nminutes: 1\npoints: 1\n\
         {more}\nsetup:\n{setup}\nchecks:\n{checks}\n"
    );
    std::fs::write(folder.join("scenario.yaml"), text).unwrap();
    std::fs::write(folder.join("task.md"), "# X\n").unwrap();
    match Scenario::find("x-01", Some(dir.path())) {
        Ok(scenario) => scenario,
        Err(error) => panic!("{error}"),
    }
}

impl Lab {
    pub fn new(setup: &str, checks: &str) -> Self {
        Self::of(&scenario(setup, checks, ""))
    }

    pub fn of(scenario: &Scenario) -> Self {
        let resolved = scenario.resolve(1).unwrap();
        let node = FakeNode::new();
        let baseline = resolved.apply_setup(&node).unwrap();
        Self {
            node,
            resolved,
            baseline,
        }
    }

    pub fn grade(&self) -> Report {
        let options = Options {
            settle: Duration::ZERO,
            entries: Duration::ZERO,
        };
        let (node, resolved) = (&self.node, &self.resolved);
        grade_with(node, resolved, &self.baseline, options, &|_| {}, node).unwrap()
    }

    /// Of each check: its status in one word, what was expected and what was seen.
    pub fn said(&self) -> Vec<String> {
        let report = self.grade();
        report
            .checks
            .iter()
            .map(|check| {
                let status = match check.status {
                    CheckStatus::Pass => "pass",
                    CheckStatus::Fail => "fail",
                    CheckStatus::Blocked => "blocked",
                };
                format!("{status}: {}: {}", check.expected, check.seen)
            })
            .collect()
    }

    /// As [`Self::said`] of the only check.
    pub fn only(&self) -> String {
        let said = self.said();
        assert_eq!(said.len(), 1, "{said:?}");
        said[0].clone()
    }

    pub fn write(&self, path: &str, content: &str) {
        self.node.write(path, content.as_bytes(), 0o644).unwrap();
    }

    pub fn chmod(&self, path: &str, mode: u32) {
        self.node.change(path, FileChange::Mode(mode)).unwrap();
    }
}

/// What lint says of a check.
pub fn complaints(check: &str) -> Vec<String> {
    let checks = format!("  - {{id: c, title: C, points: 1, {check}}}");
    let found = lint::lint(&scenario("  []", &checks, ""));
    found
        .into_iter()
        .map(|finding| finding.message)
        .filter_map(|message| message.strip_prefix("check `c`: ").map(str::to_owned))
        .collect()
}

#[test]
fn a_mode_is_exact_or_a_bound() {
    let lab = Lab::new(
        "  - write: {path: /var/log/a.log, content: x, mode: '0644'}",
        "  - {id: a, title: A, layer: log, mode: {path: /var/log/a.log, at_most: '0600'}}\n  \
         - {id: b, title: B, layer: log, mode: {path: /var/log/a.log, exactly: '0600'}}\n  \
         - {id: c, title: C, layer: log, mode: {path: /var/log/, at_most: '0750'}}",
    );
    assert_eq!(
        lab.said(),
        [
            "fail: `/var/log/a.log` has no more than mode 0600 and belongs to root: `/var/log/a.log` has \
             mode 0644: everybody on the node may do more than asked",
            "fail: `/var/log/a.log` has mode 0600 and belongs to root: `/var/log/a.log` has mode 0644: \
             everybody on the node may do more than asked",
            "fail: `/var/log/` has no more than mode 0750 and belongs to root: `/var/log` has mode 0755: \
             everybody on the node may do more than asked",
        ]
    );
    lab.chmod("/var/log/a.log", 0o400);
    lab.chmod("/var/log", 0o700);
    let said = lab.said();
    assert!(said[0].starts_with("pass"), "{said:?}");
    assert!(
        said[1].ends_with("`/var/log/a.log` has mode 0400"),
        "{said:?}"
    );
    assert!(said[2].starts_with("pass"), "{said:?}");
    lab.chmod("/var/log/a.log", 0o600);
    lab.node.chown("/var/log/a.log", 1000);
    let said = lab.said();
    assert!(
        said[0].ends_with("`/var/log/a.log` belongs to the user with id 1000"),
        "{said:?}"
    );
    let next = lab.grade().checks[0].next.clone();
    assert_eq!(next.as_deref(), Some("stat -c '%a %U %n' /var/log/a.log"));
}

/// Rotated files must be protected as well, and no files at all are no protected files.
#[test]
fn a_mode_may_be_asked_of_every_file_of_a_directory() {
    let lab = Lab::new(
        "  - mkdir: {path: /var/log/audit}",
        "  - {id: a, title: A, layer: log, mode: {path: /var/log/audit/*, at_most: '0600'}}",
    );
    assert!(
        lab.only().ends_with("there is no file in `/var/log/audit`"),
        "{}",
        lab.only()
    );
    lab.write("/var/log/audit/audit.log", "x");
    lab.write("/var/log/audit/audit-2026-11-24T07-00-00.000.log", "x");
    lab.chmod("/var/log/audit/audit.log", 0o600);
    assert!(
        lab.only()
            .contains("`/var/log/audit/audit-2026-11-24T07-00-00.000.log` has mode 0644"),
        "{}",
        lab.only()
    );
    lab.chmod("/var/log/audit/audit-2026-11-24T07-00-00.000.log", 0o600);
    assert!(lab.only().ends_with("as do all 2 files"), "{}", lab.only());
}

/// Files are what they are whether or not an API server runs.
#[test]
fn files_can_be_looked_at_while_the_api_server_is_down() {
    let lab = Lab::new(
        "  - remove: {path: /etc/kubernetes/manifests/kube-apiserver.yaml}",
        "  - {id: a, title: A, layer: files, mode: {path: /etc/kubernetes, at_most: '0755'}}",
    );
    assert!(lab.only().starts_with("pass"), "{}", lab.only());
}

#[test]
fn a_flag_is_compared_with_bounds() {
    let flag = |check: &str, flags: &str| {
        let lab = Lab::new(
            &format!("  - manifest: {{set_flags: [{flags}]}}"),
            &format!("  - {{id: a, title: A, layer: manifest, flag: {{{check}}}}}"),
        );
        lab.only()
    };
    let least = "name: audit-log-maxage, at_least: 30, at_most: '90'";
    assert_eq!(
        flag(least, "audit-log-maxage=29"),
        "fail: --audit-log-maxage (at least 30, at most 90) in the manifest: --audit-log-maxage=29"
    );
    assert!(flag(least, "audit-log-maxage=30").starts_with("pass"));
    assert!(flag(least, "audit-log-maxage=90").starts_with("pass"));
    assert!(flag(least, "audit-log-maxage=91").starts_with("fail"));
    assert!(flag(least, "audit-log-maxage=-40").starts_with("fail"));
    assert!(flag(least, "audit-log-maxage=many").starts_with("fail"));
    assert!(flag(least, "v=2").ends_with("--audit-log-maxage is not set"));
    // 366 since 1.36.
    let defaults = "name: audit-log-maxage, at_least: 30, default_counts: true";
    assert_eq!(
        flag(defaults, "v=2"),
        "pass: --audit-log-maxage (at least 30) in the manifest: --audit-log-maxage is not set: its \
         default is 366"
    );
    let absent = "name: audit-webhook-config-file, absent: true";
    assert_eq!(
        flag(absent, "audit-webhook-config-file="),
        "fail: no --audit-webhook-config-file in the manifest: --audit-webhook-config-file="
    );
    assert!(flag(absent, "v=2").starts_with("pass"));
    let one = "name: audit-log-mode, one_of: [blocking, blocking-strict]";
    assert_eq!(
        flag(one, "audit-log-mode=batch"),
        "fail: --audit-log-mode (one of blocking, blocking-strict) in the manifest: --audit-log-mode=batch"
    );
    assert!(flag(one, "audit-log-mode=blocking-strict").starts_with("pass"));
}

#[test]
fn the_limits_of_rotation_fit_a_disk() {
    let lab = Lab::new(
        "  - manifest: {set_flags: [audit-log-path=/var/log/a.log, audit-log-maxsize=100, \
         audit-log-maxbackup=10, audit-log-maxage=30]}",
        "  - {id: a, title: A, layer: process, budget: {megabytes: 1000, days: '30'}}\n  \
         - {id: b, title: B, layer: manifest, budget: {megabytes: 1100, days: 30, megabytes_per_day: 30}}",
    );
    assert_eq!(
        lab.said(),
        [
            "fail: the log and its old files take at most 1000 MB, and old files are kept for at least 30 \
             days: maxsize 100 MB, maxbackup 10, maxage 30 days: 10 old files and the current one of 100 \
             MB each may take 1100 MB",
            "pass: the log and its old files take at most 1100 MB, and they reach back 30 days at 30 MB a \
             day: maxsize 100 MB, maxbackup 10, maxage 30 days",
        ]
    );
}

const LINE_A: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a1","stage":"ResponseComplete","verb":"get","user":{"username":"jane"},"objectRef":{"resource":"secrets","namespace":"pay","name":"s"}}"#;
const LINE_B: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"b1","stage":"ResponseComplete","verb":"list","user":{"username":"bob"},"objectRef":{"resource":"pods","namespace":"pay"}}"#;

fn log_with_two_entries() -> String {
    format!(
        "  - write:\n      path: /var/log/a/audit.log\n      content: |\n        {LINE_A}\n        {LINE_B}"
    )
}

#[test]
fn entries_are_kept_wherever_they_are() {
    let lab = Lab::new(
        &log_with_two_entries(),
        "  - {id: a, title: A, layer: log, kept: {path: /var/log/a/audit.log, also: [/root/evidence/*], \
         entries: {users: [jane]}}}",
    );
    assert!(lab.only().starts_with("pass"), "{}", lab.only());
    // Rotated away: still the log's.
    let (log, old) = (
        "/var/log/a/audit.log",
        "/var/log/a/audit-2026-11-24T07-00-00.000.log",
    );
    lab.node
        .change(log, FileChange::Rename { to: old })
        .unwrap();
    assert!(lab.only().starts_with("pass"), "{}", lab.only());
    lab.node.remove(old).unwrap();
    assert_eq!(
        lab.only(),
        "fail: the 1 entries that matter are still in `/var/log/a/audit.log` or `/root/evidence/*`, \
         unchanged: the entry of `get secrets in pay by jane` is gone"
    );
    // Another entry of the same request is no copy.
    lab.write(log, &LINE_A.replace("jane", "bob"));
    assert!(lab.only().contains("was changed"), "{}", lab.only());
    lab.write("/root/evidence/first.log", &format!("noise\n{LINE_A}\r\n"));
    assert!(lab.only().starts_with("pass"), "{}", lab.only());
}

#[test]
fn a_file_is_kept_byte_for_byte_and_may_grow() {
    let lab = Lab::new(
        &log_with_two_entries(),
        "  - {id: a, title: A, layer: log, kept: {path: /var/log/a/audit.log}}\n  \
         - {id: b, title: B, layer: log, kept: {path: /var/log/a/audit.log, moved: true, also: [/root/e.log]}}",
    );
    let said = lab.said();
    assert!(said[0].starts_with("pass"), "{said:?}");
    assert_eq!(
        said[1],
        "fail: what was in `/var/log/a/audit.log` at the start is in `/root/e.log`, byte for byte: no \
         file of `/root/e.log` is there"
    );
    lab.write("/root/e.log", &format!("{LINE_A}\n{LINE_B}\nmore\n"));
    lab.write("/var/log/a/audit.log", &format!("{LINE_B}\n{LINE_A}\n"));
    let said = lab.said();
    assert!(
        said[0].ends_with("`/var/log/a/audit.log` does not begin with what was there"),
        "{said:?}"
    );
    assert!(said[1].starts_with("pass"), "{said:?}");
}

#[test]
fn a_text_is_nowhere_but_in_a_protected_file() {
    let lab = Lab::new(
        "  - write: {path: /var/log/a/audit.log, content: 'x aHVudGVyMg== y'}\n  \
         - write: {path: /var/log/a/deep/er/other.log, content: nothing}",
        "  - {id: a, title: A, layer: log, never: {under: [/var/log, /root], texts: [hunter2], \
         but: [/root/evidence.log]}}",
    );
    // As a Secret's data has it.
    assert_eq!(
        lab.only(),
        "fail: no file below `/var/log`, `/root` has the secret text, other than `/root/evidence.log`, \
         with no more than mode 0600: it is in `/var/log/a/audit.log`"
    );
    lab.write("/var/log/a/audit.log", "clean");
    lab.write("/root/evidence.log", "hunter2");
    assert!(
        lab.only()
            .ends_with("it is in `/root/evidence.log`, which has mode 0644"),
        "{}",
        lab.only()
    );
    lab.chmod("/root/evidence.log", 0o600);
    assert!(lab.only().starts_with("pass"), "{}", lab.only());
    // A compressed copy is a copy.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, b"so hunter2 is here").unwrap();
    let packed = packed.finish().unwrap();
    lab.node
        .write("/var/log/a/deep/er/old.log.gz", &packed, 0o600)
        .unwrap();
    assert!(
        lab.only()
            .ends_with("it is in `/var/log/a/deep/er/old.log.gz`"),
        "{}",
        lab.only()
    );
}

/// Whoever buries a text under thousands of files has not shown that it is gone.
#[test]
fn what_is_too_much_to_look_through_does_not_pass() {
    let lab = Lab::new(
        "  - mkdir: {path: /var/log/a}",
        "  - {id: a, title: A, layer: log, never: {under: [/var/log], texts: [hunter2]}}",
    );
    for number in 0..2_100 {
        lab.write(&format!("/var/log/a/{number}"), "");
    }
    assert!(lab.only().starts_with("fail"), "{}", lab.only());
    assert!(lab.only().contains("too much below"), "{}", lab.only());
}

#[test]
fn lint_knows_what_belongs_to_each_kind() {
    assert_eq!(
        complaints("layer: process, mode: {path: /x, exactly: '0600'}"),
        ["`mode` does not belong to the layer `process`"]
    );
    assert_eq!(
        complaints("layer: log, mode: {path: x, exactly: '9'}"),
        [
            "`9` is no octal file mode",
            "`x` is no path from the root of the node"
        ]
    );
    assert_eq!(
        complaints("layer: log, mode: {path: /x}"),
        ["`mode` needs one of `exactly` and `at_most`"]
    );
    assert_eq!(
        complaints("layer: log, kept: {path: /x, moved: true, entries: {codes: [bad]}}"),
        [
            "`moved` needs `also`: where it must be now",
            "`bad` is no status code; write 404, 4xx, 400-499 or >=400"
        ]
    );
    assert_eq!(
        complaints("layer: log, never: {under: [/x], texts: [ab]}"),
        ["a text of `never` has fewer than 4 bytes: it may be anywhere"]
    );
    assert_eq!(
        complaints("layer: process, budget: {megabytes_per_day: soon}"),
        [
            "`soon` is no whole number",
            "`megabytes_per_day` needs `days`"
        ]
    );
    assert_eq!(
        complaints("layer: process, flag: {name: audit-log-max-age, absent: true, at_least: 3}"),
        [
            "a flag that must be `absent` has no value to look at",
            "kube-apiserver has no flag `--audit-log-max-age`"
        ]
    );
}

const QUESTIONS: &str = r#"
  - id: level
    title: L
    layer: files
    answer:
      key: q1
      evaluate:
        policy: "{{ policy }}"
        as: {name: "system:serviceaccount:pay:robot"}
        request: {verb: create, resource: secrets, namespace: pay}
        ask: level
  - id: stages
    title: S
    layer: files
    answer:
      key: q2
      evaluate: {policy: "{{ policy }}", request: {verb: watch, resource: pods, namespace: pay}, ask: stages}
  - id: room
    title: R
    layer: files
    answer: {key: q3, flags: {flags: [--audit-log-maxsize=50, --audit-log-maxbackup=9], ask: megabytes}}
  - id: who
    title: W
    layer: log
    answer: {key: q4, query: {log: /var/log/a/audit.log, filter: {verbs: [get]}, ask: user}}
  - id: verbs
    title: V
    layer: log
    answer: {key: q5, query: {log: /var/log/a/audit.log, filter: {namespaces: [pay]}, ask: verb}}
  - id: count
    title: C
    layer: log
    answer: {key: q6, query: {log: /var/log/a/audit.log, filter: {}, ask: count}}
"#;

const POLICY: &str = r#"variables:
  - name: policy
    text: |
      apiVersion: audit.k8s.io/v1
      kind: Policy
      omitStages: [RequestReceived]
      rules:
      - {level: Request, userGroups: ["system:serviceaccounts:pay"], resources: [{resources: [secrets]}]}
      - {level: Metadata}
"#;

fn asked() -> Lab {
    Lab::of(&scenario(&log_with_two_entries(), QUESTIONS, POLICY))
}

fn passes(lab: &Lab) -> Vec<bool> {
    let said = lab.said();
    said.iter().map(|line| line.starts_with("pass")).collect()
}

#[test]
fn questions_are_answered_by_the_audit_engine() {
    let lab = asked();
    assert_eq!(
        lab.said()[0],
        "fail: `q1` in `/root/answers.yaml` is answered rightly: there is no `/root/answers.yaml`"
    );
    lab.write(
        "/root/answers.yaml",
        "q1: request\nq2: [ResponseComplete, ResponseStarted]\nq3: 500 MB\nq4: Jane\nq5: list, get\nq6: '2'\n",
    );
    assert_eq!(passes(&lab), [true; 6], "{:?}", lab.said());
    // Entries that come later are not asked for, and a log that is gone does not matter.
    lab.node.remove("/var/log/a/audit.log").unwrap();
    assert_eq!(passes(&lab), [true; 6], "{:?}", lab.said());
}

#[test]
fn wrong_answers_are_quoted_and_never_corrected() {
    let lab = asked();
    lab.write(
        "/root/answers.yaml",
        "q1: None, Metadata, Request, RequestResponse\nq2: ResponseComplete\nq3: 450\nq4: bob\nq4: jane\n\
         q5: get\n",
    );
    let said = lab.said();
    let ends = [
        "`none, metadata, request, requestresponse`: one value is asked for",
        "`responsecomplete`, which is not right",
        "`450`, which is not right",
        "`q4` is there 2 times: one answer counts",
        "`get`, which is not right",
        "`q6` is not answered",
    ];
    for (line, end) in said.iter().zip(ends) {
        assert!(line.starts_with("fail") && line.ends_with(end), "{line}");
    }
    let report = serde_json::to_string(&lab.grade()).unwrap();
    for right in ["ResponseStarted", "500"] {
        assert!(!report.contains(right), "{right}: {report}");
    }
}

#[test]
fn hostile_answers_are_text() {
    let lab = asked();
    for content in [
        "q1: \u{1b}[31mred\u{7}\nq2: [[[[[[[[",
        "{\"q1\": {\"a\": [1]}}",
        "q1: &x [*x, *x]",
        "\0\0\0",
    ] {
        lab.write("/root/answers.yaml", content);
        assert_eq!(passes(&lab), [false; 6], "{content:?}");
        let report = serde_json::to_string(&lab.grade()).unwrap();
        assert!(!report.contains("\\u001b"), "{report}");
    }
    lab.write(
        "/root/answers.yaml",
        &format!("q1: {}", "x".repeat(1 << 20)),
    );
    assert!(lab.said()[0].len() < 1_000);
    lab.node.remove("/root/answers.yaml").unwrap();
    lab.node.create_dir("/root/answers.yaml", 0o755).unwrap();
    assert!(lab.said()[0].ends_with("`/root/answers.yaml` is no file"));
}

/// An attempt need not know the answers of a seed.
#[test]
fn attempts_answer_by_a_word() {
    let play = |step: &str| {
        let mut scenario = scenario(&log_with_two_entries(), QUESTIONS, POLICY);
        let file = format!("title: T\nkind: correct\nsteps:\n  - answers: {step}\n");
        let attempt = serde_yaml::from_str(&file).unwrap();
        scenario.attempts.insert("a".to_owned(), attempt);
        let lab = Lab::of(&scenario);
        lab.resolved.attempts[0].play(&lab.node).unwrap();
        lab
    };
    assert_eq!(passes(&play("{}")), [true; 6]);
    assert_eq!(
        passes(&play("{instead: {q1: None, q4: ''}}")),
        [false, true, true, false, true, true]
    );
}

#[test]
fn a_question_needs_one_source_and_an_answer() {
    let key = "layer: files, answer: {key: q1, ";
    assert_eq!(
        complaints(&format!("{key}}}")),
        ["an answer needs exactly one of `evaluate`, `flags` and `query`"]
    );
    let policy = "apiVersion: audit.k8s.io/v1\\nkind: Policy\\nrules: [{level: Request}]";
    assert_eq!(
        complaints(&format!(
            "{key} evaluate: {{policy: \"{policy}\", request: {{verb: delete, resource: pods}}, ask: request-body}}}}"
        )),
        ["whether a deletion has a request body depends on the client: ask of another verb"]
    );
    let refused = complaints(&format!(
        "{key} evaluate: {{policy: \"rules: []\", request: {{verb: get}}, ask: level}}}}"
    ));
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(
        complaints(&format!(
            "{key} evaluate: {{policy: \"rules: []\", request: {{verb: get}}, ask: starts}}}}"
        )),
        Vec::<String>::new()
    );
}

/// A check of the policy that a running API server has, without a reference.
fn policy_said(policy: &str, check: &str, goal: &str) -> String {
    let setup = format!(
        "  - write:\n      path: /etc/kubernetes/p.yaml\n      content: |\n        apiVersion: audit.k8s.io/v1\n        \
         kind: Policy\n{}\n  - manifest: {{set_flags: [audit-policy-file=/etc/kubernetes/p.yaml], \
         add_volumes: [{{name: p, path: /etc/kubernetes/p.yaml}}], \
         add_mounts: [{{name: p, path: /etc/kubernetes/p.yaml}}]}}",
        policy
            .lines()
            .map(|line| format!("        {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    let checks = format!("  - {{id: a, title: A, layer: files, policy: {{{check}}}}}");
    let lab = Lab::of(&scenario(&setup, &checks, goal));
    lab.node.api_server().unwrap();
    lab.only()
}

const SECRETS: &str = "requests: [{resources: [{group: '', resources: [secrets]}]}]";
const PASS: &str = "pass: every request of this kind is treated as asked: it is, in every case the \
                    policies tell apart";

#[test]
fn a_level_is_asked_of_requests() {
    let policy = "rules:\n- {level: Request, namespaces: [pay], resources: [{resources: [secrets]}]}\n\
                  - {level: Metadata, verbs: [get, list, watch]}";
    let goal = "policy: {namespaces: [pay, shop]}";
    let said = |check: &str| policy_said(policy, &format!("{SECRETS}, {check}"), goal);
    assert_eq!(
        said("level: Metadata"),
        "fail: get secrets `web` in namespace `pay` as jane: level Metadata (without bodies): level \
         Request (with the body of the request): rule 1 of 2 is the first that matches (and 5 more kinds \
         of request)"
    );
    assert_eq!(said("level: Request, compare: at-most"), PASS);
    assert_eq!(
        said("level: Metadata, compare: at-most, free: [{namespaces: [pay]}]"),
        PASS
    );
    assert_eq!(
        said("level: Metadata, compare: at-least"),
        "fail: create secrets in namespace `shop` as jane: level Metadata (without bodies) or more: not \
         recorded: no rule of 2 matches (and 1 more kinds of request)"
    );
    assert!(said("level: None").starts_with("fail: get secrets `web` in namespace `pay`"));
}

/// What leaves out every stage records nothing, whatever its level.
#[test]
fn a_level_without_stages_is_no_level() {
    let policy = "rules:\n- {level: RequestResponse, omitStages: [RequestReceived, ResponseStarted, \
                  ResponseComplete]}";
    assert_eq!(policy_said(policy, "level: None", ""), PASS);
}

#[test]
fn stages_are_asked_of_requests() {
    let policy = "rules:\n- {level: Request, omitStages: [RequestReceived], resources: [{resources: [secrets]}]}\n\
                  - {level: Metadata, omitStages: [ResponseStarted]}";
    let left_out = "compare: none, stages: {left_out: [RequestReceived]}";
    assert_eq!(
        policy_said(policy, &format!("{SECRETS}, {left_out}"), ""),
        PASS
    );
    assert_eq!(
        policy_said(policy, left_out, ""),
        "fail: get pods `web` in namespace `default` as jane: no entry of the stage RequestReceived: an \
         entry of the stage RequestReceived: rule 2 of 2 is the first that matches (and 4 more kinds of \
         request)"
    );
    // Only what goes on for long has the stage at all.
    let said = policy_said(
        policy,
        "compare: none, stages: {recorded: [ResponseStarted]}",
        "",
    );
    assert!(said.starts_with("fail: get pods/attach"), "{said}");
}

#[test]
fn managed_fields_are_asked_of_bodies() {
    let policy = "omitManagedFields: true\nrules:\n- {level: Request, omitManagedFields: false, resources: \
                  [{resources: [secrets]}]}\n- {level: RequestResponse, resources: [{resources: [pods]}]}\n\
                  - {level: Metadata}";
    let omitted = "compare: none, managed_fields: omitted";
    assert_eq!(
        policy_said(policy, omitted, ""),
        "fail: create secrets in namespace `default` as jane: bodies without managed fields: bodies with \
         managed fields: rule 1 of 3 is the first that matches"
    );
    let rest = format!("{omitted}, free: [{{verbs: [create, update, patch]}}]");
    assert_eq!(policy_said(policy, &rest, ""), PASS);
    // The reference may ask for them, too.
    let reference = "policy: {managed_fields: exactly, reference: \"apiVersion: audit.k8s.io/v1\\nkind: \
                     Policy\\nomitManagedFields: true\\nrules: [{level: Request, resources: [{resources: \
                     [secrets]}]}, {level: RequestResponse, resources: [{resources: [pods]}]}, {level: \
                     Metadata}]\"}";
    let said = policy_said(policy, "{}".trim_matches(['{', '}']), reference);
    assert!(said.contains("bodies without managed fields"), "{said}");
}

/// Who is in a group is told, where the name alone does not show it.
#[test]
fn the_example_names_the_group_that_matters() {
    let policy = "rules:\n- {level: Metadata, userGroups: [breakglass]}";
    let said = policy_said(policy, "level: None", "");
    assert!(
        said.starts_with(
            "fail: get secrets `web` in namespace `default` as jane of group `breakglass`"
        ),
        "{said}"
    );
}

#[test]
fn lint_knows_what_a_policy_check_needs() {
    let files = |check: &str| complaints(&format!("layer: files, policy: {{{check}}}"));
    assert_eq!(
        files("level: None, compare: at-least"),
        ["every level is at least None"]
    );
    assert_eq!(
        files("level: Request, compare: none"),
        ["a `level` that is not compared is no level"]
    );
    assert_eq!(
        files("level: None, stages: {recorded: [Panic], left_out: [Panic]}"),
        ["the stage Panic cannot be both"]
    );
    let unknown = files("level: None, requests: [{verb: [get]}]");
    assert!(unknown[0].contains("unknown field"), "{unknown:?}");
    let found = lint::lint(&scenario(
        "  []",
        "  - {id: c, title: C, points: 1, layer: files, policy: {}}",
        "",
    ));
    assert!(
        found.iter().any(|finding| finding.message
            == "check `c` needs a `level`, or a `policy` of the scenario with a `reference`"),
        "{found:?}"
    );
}
