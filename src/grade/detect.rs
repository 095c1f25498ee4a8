//! Misconceptions the grader recognises by itself: what the learner seems to believe, and what is true.

use super::argv::{Flags, below, parent};
use super::checks::Context;
use super::checks::log::carries;
use super::facts::Facts;
use super::pod::Target;
use super::policy::shadowed;
use super::report::{CheckStatus, Outcome};
use crate::audit::evaluate::evaluate;
use crate::node::{ContainerPhase, NodeFile};
use crate::scenario::definition::{Check, PolicyCheck};

/// A recognised misconception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Identifier, which scenarios may use to give it another text.
    pub id: &'static str,
    /// The text.
    pub text: String,
    /// The checks it explains, by index.
    pub explains: Vec<usize>,
}

/// What is looked for: identifiers of every detector, for `ckslab scenario lint`.
pub const IDS: [&str; 21] = [
    "manifest-not-yaml",
    "mount-without-volume",
    "unknown-flag",
    "policy-invalid",
    "policy-is-directory",
    "policy-not-mounted",
    "log-read-only",
    "backup-in-manifests",
    "edited-not-running",
    "path-without-policy",
    "policy-without-path",
    "rotation-swapped",
    "log-file-mounted",
    "mount-path-differs",
    "log-not-mounted",
    "policy-elsewhere",
    "unknown-field",
    "rule-shadowed",
    "policy-not-reloaded",
    "secret-recorded",
    "lines-not-from-server",
];

/// Looks for every known misconception. The first that explains a check is the one to show.
#[must_use]
pub fn detect(context: &Context<'_>, checks: &[(Check, Outcome)]) -> Vec<Finding> {
    let mut detector = Detector {
        context,
        checks,
        findings: Vec::new(),
    };
    detector.down();
    detector.process();
    detector.mounts();
    detector.policy();
    detector.log();
    detector.findings
}

/// A file beside the API server's manifest that seems to describe the same pod.
#[must_use]
pub fn other_manifest(facts: &Facts) -> Option<&String> {
    facts.manifests.iter().find(|name| {
        name.contains("apiserver") && *name != "kube-apiserver.yaml" && !name.starts_with('.')
    })
}

fn backup(other: &str) -> String {
    format!(
        "the kubelet runs every file in its manifests directory, whatever its name: `{other}` describes the same pod and wins over the edited manifest. Keep copies elsewhere"
    )
}

struct Detector<'a> {
    context: &'a Context<'a>,
    checks: &'a [(Check, Outcome)],
    findings: Vec<Finding>,
}

impl Detector<'_> {
    fn found(
        &mut self,
        id: &'static str,
        text: impl Into<String>,
        explains: impl Fn(&Check) -> bool,
    ) {
        let explains = self
            .checks
            .iter()
            .enumerate()
            .filter(|(_, (check, outcome))| outcome.status == CheckStatus::Fail && explains(check))
            .map(|(index, _)| index)
            .collect::<Vec<_>>();
        if !explains.is_empty() {
            self.findings.push(Finding {
                id,
                text: text.into(),
                explains,
            });
        }
    }

    fn facts(&self) -> &Facts {
        self.context.facts
    }

    /// Why the API server does not run.
    fn down(&mut self) {
        let facts = self.facts().clone();
        if facts.down().is_none() {
            return;
        }
        let is_down = |check: &Check| check.running.is_some() || check.readable.is_some();
        if let Err(problem) = &facts.manifest {
            if problem.contains("Not found:") {
                self.found(
                    "mount-without-volume",
                    "a volumeMount finds its volume by name: the two names must be the same, letter for letter. The kubelet refuses the whole pod otherwise, so there is no container and no container log; only its journal tells",
                    is_down,
                );
            } else if problem.contains("couldn't parse as pod") {
                self.found(
                    "manifest-not-yaml",
                    "a manifest that is no valid YAML gives no container at all, so neither crictl nor a container log can tell; the kubelet's journal names the line",
                    is_down,
                );
            }
            return;
        }
        if let Some(other) = other_manifest(&facts) {
            self.found("backup-in-manifests", backup(other), is_down);
            return;
        }
        let log = facts.state.log_tail.join("\n");
        if let Some(flag) = log
            .split("unknown flag: ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next())
        {
            self.found(
                "unknown-flag",
                format!("the API server knows no flag `{flag}` and ends at once; `kube-apiserver --help` (or the reference page of kube-apiserver) has the exact names"),
                is_down,
            );
        } else if log.contains("is a directory") && log.contains("audit policy") {
            self.found(
                "policy-is-directory",
                "the container runtime makes a missing hostPath source a directory when the volume has no type (or DirectoryOrCreate); the API server then reads a directory where it wants the policy. Use `type: File`, and remove the directory from the node",
                is_down,
            );
        } else if log.contains("failed to read file path") {
            self.found(
                "policy-not-mounted",
                "a flag names a path inside the container. What is on the node is there only if a hostPath volume and a volumeMount bring it in",
                is_down,
            );
        } else if log.contains("read-only file system") {
            self.found(
                "log-read-only",
                "the API server must write its log: the mount of the log directory cannot be readOnly (the policy's can)",
                is_down,
            );
        } else if log.contains("loading audit policy file") {
            self.found(
                "policy-invalid",
                "the API server loads its policy before it does anything else and ends when it cannot; the last line of the container's log says where the policy is wrong",
                is_down,
            );
        }
    }

    /// What runs is not what the manifest says, or lacks half of what audit needs.
    fn process(&mut self) {
        let facts = self.facts().clone();
        if !facts.running() {
            return;
        }
        let is_process = |check: &Check| {
            check.flag.is_some()
                || check.sees.is_some()
                || check.probes.is_some()
                || check.log.is_some()
        };
        let audit = |flags: &Flags| -> Vec<(String, String)> {
            let mut audit: Vec<(String, String)> = flags
                .iter()
                .filter(|(name, _)| name.starts_with("audit-"))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            audit.sort();
            audit
        };
        if facts.manifest.is_ok() && audit(&facts.flags) != audit(&facts.manifest_flags) {
            if let Some(other) = other_manifest(&facts) {
                self.found("backup-in-manifests", backup(other), is_process);
            } else {
                self.found(
                    "edited-not-running",
                    "the manifest says one thing, the process that runs was started with another: an edit counts once the API server was started with it",
                    |check| check.flag.is_some() || check.sees.is_some() || check.probes.is_some(),
                );
            }
        }
        let policy = facts.flags.text("audit-policy-file").is_some();
        let path = facts.flags.text("audit-log-path").is_some()
            || facts.flags.text("audit-webhook-config-file").is_some();
        let about = |name: &'static str| {
            move |check: &Check| {
                check.flag.as_ref().is_some_and(|flag| flag.name == name)
                    || check.mount.as_ref().is_some_and(|mount| mount.flag == name)
                    || check.sees.as_ref().is_some_and(|mount| mount.flag == name)
                    || check.probes.is_some()
                    || check.log.is_some()
            }
        };
        if path && !policy {
            self.found(
                "path-without-policy",
                "a log path alone records nothing: without --audit-policy-file there are no events, and the API server does not complain",
                about("audit-policy-file"),
            );
        } else if policy && !path {
            self.found(
                "policy-without-path",
                "a policy alone records nothing: without --audit-log-path (or a webhook) the events go nowhere, and the API server does not complain",
                about("audit-log-path"),
            );
        }
        self.rotation();
    }

    fn rotation(&mut self) {
        let wanted: Vec<(String, String)> = self
            .checks
            .iter()
            .filter_map(|(check, _)| check.flag.clone())
            .filter(|flag| {
                [
                    "audit-log-maxage",
                    "audit-log-maxbackup",
                    "audit-log-maxsize",
                ]
                .contains(&flag.name.as_str())
            })
            .filter_map(|flag| flag.equals.map(|value| (flag.name, value)))
            .collect();
        let flags = &self.facts().flags;
        let wrong: Vec<&(String, String)> = wanted
            .iter()
            .filter(|(name, value)| flags.get(name).is_some_and(|got| got != value))
            .collect();
        let swapped = wrong.iter().any(|(name, value)| {
            wrong.iter().any(|(other, other_value)| {
                other != name
                    && flags.get(other) == Some(value.as_str())
                    && flags.get(name) == Some(other_value.as_str())
            })
        });
        if swapped {
            self.found(
                "rotation-swapped",
                "two of the rotation values are exchanged: maxage counts days, maxbackup files, maxsize megabytes",
                |check| check.flag.as_ref().is_some_and(|flag| flag.name.starts_with("audit-log-max")),
            );
        }
    }

    /// Volumes and mounts that do not meet the flags.
    fn mounts(&mut self) {
        let facts = self.facts().clone();
        let Ok(pod) = &facts.manifest else { return };
        let checks: Vec<_> = self
            .checks
            .iter()
            .filter_map(|(check, _)| check.mount.clone().or_else(|| check.sees.clone()))
            .collect();
        for mount in checks {
            let Some(flag) = facts.manifest_flags.text(&mount.flag) else {
                continue;
            };
            let is_log = mount.flag == "audit-log-path";
            let concerns = |check: &Check| {
                check
                    .mount
                    .as_ref()
                    .is_some_and(|other| other.flag == mount.flag)
                    || check
                        .sees
                        .as_ref()
                        .is_some_and(|other| other.flag == mount.flag)
                    || (is_log && (check.log.is_some() || check.probes.is_some()))
            };
            match pod.target(flag) {
                Target::Container => {
                    // A volume that has the file, mounted where the flag does not look.
                    let elsewhere = pod.volumes_of(&mount.path).find_map(|volume| {
                        pod.mounts.iter().find(|other| other.name == volume.name)
                    });
                    if let Some(other) = elsewhere {
                        self.found(
                            "mount-path-differs",
                            format!("the volume `{}` is mounted at `{}`, but --{} points to `{flag}`: mountPath and flag are both paths in the container and must meet", other.name, other.path, mount.flag),
                            concerns,
                        );
                    } else if is_log {
                        self.found(
                            "log-not-mounted",
                            "the API server writes its log happily into its own container, where nobody finds it and where it is lost with the container: the directory of the log must be mounted from the node",
                            concerns,
                        );
                    } else {
                        self.found(
                            "policy-not-mounted",
                            "a flag names a path inside the container. What is on the node is there only if a hostPath volume and a volumeMount bring it in",
                            concerns,
                        );
                    }
                }
                Target::Node {
                    file_itself: true, ..
                } if is_log && mount.directory => {
                    self.found(
                        "log-file-mounted",
                        "a mounted file cannot be renamed by rotation (device or resource busy), and files beside it stay in the container: mount the directory of the log",
                        concerns,
                    );
                }
                Target::Node {
                    path, mount: other, ..
                } if below(&path, &parent(&mount.path)).is_none() => {
                    self.found(
                        "policy-elsewhere",
                        format!("`{flag}` exists for the API server, but volume `{}` brings it from `{path}` of the node, not from `{}`: a file of the same name or content elsewhere is another file", other.name, mount.path),
                        concerns,
                    );
                }
                _ => {}
            }
        }
        if matches!(
            facts.policy.as_ref().map(|policy| &policy.file),
            Some(NodeFile::Directory { .. })
        ) {
            self.found(
                "policy-is-directory",
                "the container runtime makes a missing hostPath source a directory; remove it from the node and put the file there",
                |check| check.sees.is_some() || check.policy.is_some(),
            );
        }
    }

    /// What is wrong with the policy that is loaded.
    fn policy(&mut self) {
        let facts = self.facts().clone();
        let Some(Ok(loaded)) = facts
            .policy
            .as_ref()
            .and_then(|policy| policy.loaded.as_ref())
        else {
            return;
        };
        if let Some(field) = loaded
            .warnings
            .iter()
            .find_map(|warning| warning.split("unknown field \"").nth(1))
            .and_then(|rest| rest.split('"').next())
        {
            self.found(
                "unknown-field",
                format!("the API server warns about the unknown field `{field}` and starts without it: the rule then matches much more than it seems to say. The fields of a rule are plural: users, userGroups, verbs, resources, namespaces, nonResourceURLs"),
                |check| check.policy.is_some(),
            );
        }
        let Some(comparison) = self.context.comparison else {
            return;
        };
        let shadow = comparison
            .counterexamples(&loaded.policy, &PolicyCheck::default())
            .unwrap_or_default()
            .iter()
            .find_map(|example| shadowed(&loaded.policy, example));
        if let Some((first, later)) = shadow {
            self.found(
                "rule-shadowed",
                format!("rule {first} shadows rule {later}: the first rule that matches decides, later ones are not looked at. Narrow rules come first, the catch-all last"),
                |check| check.policy.is_some(),
            );
        }
        let policy_fine = self
            .checks
            .iter()
            .filter(|(check, _)| check.policy.is_some())
            .all(|(_, outcome)| outcome.status == CheckStatus::Pass);
        let logs_fine = self
            .checks
            .iter()
            .filter(|(check, _)| check.sees.is_some())
            .all(|(_, outcome)| outcome.status == CheckStatus::Pass);
        if policy_fine && logs_fine {
            self.found(
                "policy-not-reloaded",
                "the policy file is right, but the API server still does what it read at its start: it reads the policy once. Restart it by moving the manifest out of the directory and back",
                |check| check.probes.is_some(),
            );
        }
    }

    /// Lines that are in the log but not from the server that runs, or that must not be there.
    fn log(&mut self) {
        if self.facts().state.state != ContainerPhase::Running {
            return;
        }
        self.secret();
        let sent = &self.context.volley.sent;
        let ours = |path: &str| {
            self.context.fresh_lines(path).iter().any(|line| {
                sent.iter()
                    .any(|sent| line.contains(&sent.message.audit_id))
            })
        };
        let stale = self.checks.iter().any(|(check, outcome)| {
            outcome.status == CheckStatus::Fail
                && check.log.as_ref().is_some_and(|log| {
                    !ours(&log.path)
                        && matches!(
                            self.context.node.read_from(&log.path, u64::MAX),
                            Ok(NodeFile::File { size, .. }) if size > 0
                        )
                })
        });
        if stale {
            self.found(
                "lines-not-from-server",
                "the log on the node has lines, but the API server that runs does not add to it: entries count only when they are the running API server's own",
                |check| check.log.is_some() || check.probes.is_some(),
            );
        }
    }

    /// The content of a Secret in an entry: which rule put it there, and at which level.
    fn secret(&mut self) {
        let volley = self.context.volley;
        let found = self.checks.iter().find_map(|(check, outcome)| {
            let log = check.log.as_ref()?;
            if outcome.status != CheckStatus::Fail || log.never.is_empty() {
                return None;
            }
            let lines = self.context.fresh_lines(&log.path);
            volley.sent.iter().find_map(|sent| {
                let level = lines
                    .iter()
                    .filter(|line| line.contains(&sent.message.audit_id))
                    .filter(|line| {
                        log.never
                            .iter()
                            .any(|never| carries(line, &never.replace("NONCE", &volley.nonce)))
                    })
                    .find_map(|line| {
                        let event: serde_json::Value = serde_json::from_str(line).ok()?;
                        event.get("level")?.as_str().map(str::to_owned)
                    })?;
                Some((sent, level))
            })
        });
        let Some((sent, level)) = found else { return };
        let loaded = match self.facts().policy.as_ref().map(|policy| &policy.loaded) {
            Some(Some(Ok(loaded))) => Some(&loaded.policy),
            _ => None,
        };
        // The file may have been changed since the API server read it: then no rule of it is to blame.
        let rule = loaded.and_then(|policy| {
            let decision = evaluate(policy, &sent.attributes);
            let rule = decision.rule?;
            (decision.level.name() == level)
                .then(|| format!("rule {} of {}", rule + 1, policy.rules.len()))
        });
        let text = match rule {
            Some(rule) => format!(
                "Secrets are recorded with their content: {rule} is the first that matches `{}`, and its level {level} keeps bodies. Only Metadata (or None) keeps the content of Secrets out of the log",
                sent.words
            ),
            None => format!(
                "Secrets are recorded with their content: `{}` is recorded at level {level}, which keeps bodies. Only Metadata (or None) keeps the content of Secrets out of the log",
                sent.words
            ),
        };
        self.found("secret-recorded", text, |check| {
            check.log.as_ref().is_some_and(|log| !log.never.is_empty())
        });
    }
}
