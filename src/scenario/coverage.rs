//! The field that scenarios cover: the kinds of tasks that exams, courses and audits set about audit
//! logging, and the mistakes that learners make with it. A scenario names those it trains by number
//! (`tasks`, `mistakes`), so that gaps can be seen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Kinds of tasks, numbered from 1.
pub const TASKS: [&str; 28] = [
    "switch the log backend on with a policy that is there: two flags, two mounts",
    "levels of their own for resources of different namespaces, nothing else recorded",
    "only deletions of Secrets in one namespace, with a limit on the age of files",
    "only updates and deletions of Pods in one namespace, without bodies",
    "one old file at most, Secrets without bodies, nodes' requests in full, starting from an empty log",
    "a policy that is there gets bodies for Deployments of one namespace and a catch-all",
    "CronJobs in full, bodies of one namespace's Deployments, core group at Request, watches of kube-proxy left out, three limits",
    "namespaces themselves, Secrets of kube-system, port forwarding and service proxies, without RequestReceived",
    "nodes, volume claims, ConfigMaps and Secrets, each at a level of its own",
    "changes only: the verbs that write, with request bodies",
    "reads of one namespace's Secrets left out, the rest recorded; the first entries saved to a file",
    "probes of health stay left out while a policy is extended",
    "subresources such as the log of a Pod, apart from Pods",
    "find the entry that an action left",
    "one object left out by its name, such as the lock of a leader election",
    "the wrong level in a given file",
    "RBAC objects with bodies, token reviews without, health not at all",
    "several namespaces in one rule, a volume of a given name, read-only; then who causes the churn",
    "the values of the CIS benchmark: a path, an age, a number of files, a size",
    "stages and managed fields left out, for the whole policy and for single rules",
    "a production policy with little noise, and a volume that is wrong",
    "an investigation: who read, deleted or created what, who was refused, how often",
    "forensics of exec: who ran what where",
    "an analyser and rules that alert",
    "the webhook backend and a collector",
    "the least RBAC that a log shows to be needed",
    "audit logging on a kind cluster, through kubeadm's configuration",
    "questions on levels, stages and flags",
];

/// Mistakes that learners make, numbered from 1.
pub const MISTAKES: [&str; 24] = [
    "the policy is not mounted: the API server ends, its log says that the file does not exist",
    "the log's directory is not mounted: healthy, and no file on the node",
    "the log file is mounted instead of its directory: rotation cannot rename it",
    "the log's mount is read-only or cannot be written: a crash loop",
    "a backup in the manifests directory: old flags go on running, or two pods fight",
    "the policy is edited and the API server not started again: nothing changes",
    "fields in the singular (`verb`, `namespace`, `resource`): dropped, so that the rule matches far too much",
    "`verbs` nested in `resources`: ignored",
    "a group written with its version, or the wrong group: an error, or a rule that never matches",
    "the catch-all first: the rules after it are dead",
    "a log path without a policy, or the other way round: healthy, no entries",
    "no rules, or no apiVersion: the API server ends",
    "a typing error in a flag: the API server ends with `unknown flag`",
    "an error of YAML in the manifest: no container, only the kubelet's journal tells",
    "bodies expected where there are none: `get` at Request, or in the entry of RequestReceived",
    "`pods` expected to cover `pods/exec`, or the verb create expected for an exec",
    "a level that does not exist, such as `metadata` or `Nothing`: the API server ends",
    "maxage, maxsize and maxbackup exchanged",
    "an upgrade drops what was edited by hand",
    "a webhook named by its Service: not resolvable from the host's network",
    "Secrets at RequestResponse: their values are in the log",
    "mount paths that are relative, differ from the flag, or volumes whose names differ",
    "not waiting long enough, the wrong host, a log that was not emptied",
    "the old static pod does not stop: its port is in use",
];

/// What kind of work a scenario is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Switch audit logging on, or change how it is set.
    Configure,
    /// Find what is broken and repair it.
    Troubleshoot,
    /// Write a policy for a requirement, as little verbose as it allows.
    Design,
    /// Protect the log, the policy and what is in them.
    Protect,
    /// Read entries and answer.
    Interpret,
    /// Answer questions on how auditing works.
    Questions,
}

impl Group {
    /// Every group, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Configure,
        Self::Troubleshoot,
        Self::Design,
        Self::Protect,
        Self::Interpret,
        Self::Questions,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Troubleshoot => "troubleshoot",
            Self::Design => "design",
            Self::Protect => "protect",
            Self::Interpret => "interpret",
            Self::Questions => "questions",
        }
    }
}

/// The kind of task of this number.
#[must_use]
pub fn task(number: u8) -> Option<&'static str> {
    numbered(&TASKS, number)
}

/// The mistake of this number.
#[must_use]
pub fn mistake(number: u8) -> Option<&'static str> {
    numbered(&MISTAKES, number)
}

fn numbered(list: &[&'static str], number: u8) -> Option<&'static str> {
    list.get(usize::from(number).checked_sub(1)?).copied()
}

/// What is wrong with the numbers of a list: out of range, or there twice.
pub(super) fn problems(field: &str, numbers: &[u8], most: usize) -> Vec<String> {
    let mut problems = Vec::new();
    for (at, number) in numbers.iter().enumerate() {
        if *number == 0 || usize::from(*number) > most {
            problems.push(format!(
                "`{field}` has {number}, but the numbers go from 1 to {most}"
            ));
        } else if numbers.iter().take(at).any(|other| other == number) {
            problems.push(format!("`{field}` has {number} twice"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lists are documented in one place, and say the same there.
    #[test]
    fn the_documentation_has_both_lists() {
        let text = std::fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/docs/scenario-format.md"
        ))
        .unwrap();
        let (tasks, mistakes) = text
            .split_once("## Mistakes")
            .expect("a section of mistakes");
        for (list, section) in [(&TASKS[..], tasks), (&MISTAKES[..], mistakes)] {
            for (at, line) in list.iter().enumerate() {
                let wanted = format!("{}. {line}\n", at + 1);
                assert!(section.contains(&wanted), "{wanted}");
            }
        }
    }

    #[test]
    fn numbers_start_at_one() {
        assert_eq!(task(0), None);
        assert_eq!(task(28), Some("questions on levels, stages and flags"));
        assert_eq!(mistake(24), Some(MISTAKES[23]));
        assert_eq!(mistake(25), None);
        assert_eq!(
            problems("tasks", &[1, 0, 29, 1], TASKS.len()),
            [
                "`tasks` has 0, but the numbers go from 1 to 28",
                "`tasks` has 29, but the numbers go from 1 to 28",
                "`tasks` has 1 twice",
            ]
        );
    }
}
