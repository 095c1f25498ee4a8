//! The files of a new scenario: small, complete, and passing `ckslab scenario test`.

/// Files by path within the scenario's directory.
#[must_use]
pub fn files(id: &str) -> Vec<(&'static str, String)> {
    [
        ("scenario.yaml", SCENARIO),
        ("task.md", TASK),
        ("hints.md", HINTS),
        ("explanation.md", EXPLANATION),
        ("attempts/reference.yaml", REFERENCE),
        ("attempts/other.yaml", OTHER),
        ("attempts/typed-in.yaml", WRONG),
    ]
    .into_iter()
    .map(|(path, text)| (path, text.replace("SCENARIO_ID", id)))
    .collect()
}

const SCENARIO: &str = r#"# `ckslab scenario schema` prints the whole format.
format: 1
id: SCENARIO_ID
title: A title of one line
summary: Two or three lines for `ckslab list`.
# configure, troubleshoot, design, protect, interpret or questions
group: configure
skills: [audit policy]
# What it covers of the kinds of tasks and of mistakes, by number (docs/scenario-format.md).
tasks: [1]
mistakes: [6]
difficulty: easy
minutes: 5
points: 100
kubernetes: ["1.36"]
# The seed decides; texts, setup, checks and attempts use {{ team }} and the like.
variables:
  - name: team
    pick: [red, green, blue]
  - name: policy_path
    text: /etc/kubernetes/audit/policy.yaml
  - name: log_dir
    text: /var/log/kubernetes/audit
  - name: log_path
    text: "{{ log_dir }}/audit.log"
  - name: policy_text
    text: |
      apiVersion: audit.k8s.io/v1
      kind: Policy
      omitStages: ["RequestReceived"]
      rules:
      - level: Metadata
        namespaces: ["{{ team }}"]
        resources:
        - group: ""
          resources: ["secrets"]
# What the learner finds.
setup:
  - objects:
      - {apiVersion: v1, kind: Namespace, metadata: {name: "{{ team }}"}}
  - mkdir: {path: "{{ log_dir }}"}
  - write:
      path: "{{ policy_path }}"
      content: |
        apiVersion: audit.k8s.io/v1
        kind: Policy
        rules:
        - level: None
  - manifest:
      set_flags:
        - audit-policy-file={{ policy_path }}
        - audit-log-path={{ log_path }}
      add_volumes:
        - {name: audit-policy, path: /etc/kubernetes/audit, type: Directory}
        - {name: audit-log, path: "{{ log_dir }}", type: DirectoryOrCreate}
      add_mounts:
        - {name: audit-policy, path: /etc/kubernetes/audit, read_only: true}
        - {name: audit-log, path: "{{ log_dir }}"}
faults:
  - {id: silent, text: the policy records nothing}
# Any policy that does the same as this one passes.
policy:
  reference: "{{ policy_text }}"
  namespaces: ["{{ team }}"]
# Requests the grader sends; the reference policy says which are recorded, and how.
probes:
  - id: secrets
    requests:
      - {verb: list, resource: secrets, namespace: "{{ team }}"}
  - id: silent
    requests:
      - {verb: list, resource: secrets, namespace: default}
checks:
  - id: policy-secrets
    title: Secrets in {{ team }} are recorded without bodies
    layer: files
    points: 40
    policy: {only: [{resources: [{group: "", resources: [secrets]}]}]}
  - id: policy-rest
    title: Nothing else is recorded
    layer: files
    points: 10
    # True from the start, so it counts only once the work is done.
    requires: [policy-secrets]
    policy: {except: [{resources: [{group: "", resources: [secrets]}]}]}
  - id: log
    title: New entries arrive in the log
    layer: log
    points: 10
    log: {path: "{{ log_path }}"}
  - id: entries
    title: Requests are recorded as asked
    layer: entries
    points: 30
    probes: {path: "{{ log_path }}", ids: [secrets, silent]}
  - id: unchanged
    title: Nothing else was changed
    layer: process
    points: 10
    requires: [policy-secrets, entries]
    unchanged: {flags_but: [], pod: true, other_manifests: true, objects: true}
"#;

const TASK: &str = r"# A title of one line

**Context.** The API server has an audit policy, `{{ policy_path }}`, that records nothing.

**Your task.** Every request for Secrets in namespace `{{ team }}` is recorded in `{{ log_path }}`:
who did what and when, without bodies and without entries of the stage RequestReceived. Nothing else is
recorded.

**Do not** change flags of the API server, other parts of its pod, or other static pods.
";

const HINTS: &str = r"# Hints

## 10: Where a hint starts

A heading gives the cost in percent and a title. Hints get more concrete one by one.
";

const EXPLANATION: &str = r"# What was wrong

What it was, how one sees it (commands and their output), why the repair works, traps, pages to read.

{{ policy_text | indent(4, true) }}
";

const REFERENCE: &str = r#"title: The policy, and a restart
kind: reference
steps:
  - write: {path: "{{ policy_path }}", content: "{{ policy_text }}"}
  - restart: true
"#;

const OTHER: &str = r#"title: The same in another form
kind: correct
steps:
  - write:
      path: "{{ policy_path }}"
      content: |
        {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [
          {"level": "Metadata", "omitStages": ["RequestReceived"], "namespaces": ["{{ team }}"],
           "resources": [{"resources": ["secrets"]}]}]}
  - manifest: {annotate: "example.com/restart=1"}
"#;

const WRONG: &str = r#"title: The policy was not read again
kind: wrong
steps:
  - write: {path: "{{ policy_path }}", content: "{{ policy_text }}"}
expect:
  score: 50
  failing: [log, entries]
  misconceptions: [policy-not-reloaded]
"#;
