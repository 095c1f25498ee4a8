//! A grading from start to end: wait for the node, gather facts, send probes, check, explain.

use std::time::{Duration, Instant};

use super::checks::{self, Context};
use super::detect;
use super::entries::{judge, stages};
use super::facts::Facts;
use super::log_tail::LogTail;
use super::pod::Target;
use super::policy::Comparison;
use super::probes::{self, Volley};
use super::report::{CheckReport, CheckStatus, Outcome, Report, SCHEMA_VERSION};
use crate::audit::level::Level;
use crate::audit::policy::{Policy, load};
use crate::node::courier::{Courier, KubeCourier, Message};
use crate::node::{ApiServerState, ContainerPhase, Identity, Node, NodeError, NodeFile};
use crate::scenario::definition::{Check, Misconception, PolicyGoal, Stages};
use crate::scenario::{Baseline, Resolved};

/// How a grading is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long to wait for a node that is still acting on a change.
    pub settle: Duration,
    /// How long to wait for the entries of requests that were answered.
    pub entries: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(90),
            entries: Duration::from_millis(1000),
        }
    }
}

/// Why a lab could not be graded.
#[derive(Debug, thiserror::Error)]
pub enum GradeError {
    /// The node cannot be asked.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The scenario itself is wrong.
    #[error(
        "the scenario `{scenario}` cannot be graded: {message}\n\nhint: `ckslab scenario lint` looks for mistakes in scenarios"
    )]
    Scenario {
        /// The scenario.
        scenario: String,
        /// What is wrong with it.
        message: String,
    },
}

/// Grades a lab. `progress` gets a line whenever there is something to wait for.
///
/// # Errors
/// When the node cannot be asked or the scenario is wrong.
pub fn grade(
    node: &dyn Node,
    resolved: &Resolved,
    baseline: &Baseline,
    options: Options,
    progress: &dyn Fn(&str),
) -> Result<Report, GradeError> {
    grade_with(
        node,
        resolved,
        baseline,
        options,
        progress,
        &KubeCourier {
            node,
            user_agent: probes::USER_AGENT,
        },
    )
}

/// As [`grade`], with a courier of the caller's.
///
/// # Errors
/// As [`grade`].
pub fn grade_with(
    node: &dyn Node,
    resolved: &Resolved,
    baseline: &Baseline,
    options: Options,
    progress: &dyn Fn(&str),
    courier: &dyn Courier,
) -> Result<Report, GradeError> {
    let definition = &resolved.definition;
    let wrong = |message: String| GradeError::Scenario {
        scenario: definition.id.clone(),
        message,
    };
    // Checks that say themselves what is asked need no reference.
    let asked = definition.checks.iter().any(|check| check.policy.is_some());
    let nothing = PolicyGoal::default();
    let comparison = definition
        .policy
        .as_ref()
        .or(asked.then_some(&nothing))
        .map(Comparison::new)
        .transpose()
        .map_err(wrong)?;
    let stages = definition
        .policy
        .as_ref()
        .map_or(Stages::Any, |goal| goal.stages);

    let mut tries = 0;
    loop {
        tries += 1;
        let mut notes = Vec::new();
        let mut state = settle(node, options, progress, &mut notes)?;
        notes.extend(state.notes.values().cloned());
        if resolved.is_graded()
            && let Some(recovered) = await_retry(node, &state, options, progress)?
        {
            state = recovered;
        }
        let facts = Facts::gather_with(node, state, &definition.setup)?;

        let mut volley = Volley::default();
        let mut fresh = Vec::new();
        let mut lost_objects = Vec::new();
        if facts.down().is_none() && resolved.is_graded() {
            let nothing = Policy::default();
            let reference = comparison.as_ref().map_or(&nothing, |c| &c.reference);
            (volley, fresh) = probe(node, resolved, &facts, reference, stages, options, courier)?;
            lost_objects = objects(baseline, courier);
        }

        let context = Context {
            node,
            facts: &facts,
            baseline,
            comparison: comparison.as_ref(),
            stages,
            volley: &volley,
            fresh: &fresh,
            lost_objects: &lost_objects,
        };
        let outcomes = check_all(&context, &definition.checks);
        // A grade must speak of one moment: when another process took over meanwhile, it speaks of none.
        let now = node.api_server()?;
        let same = !now.converging
            && now.ready == facts.state.ready
            && (now.instance == facts.state.instance || !now.ready);
        if !same && tries < TRIES {
            progress("the node changed while it was graded; once more …");
            continue;
        }
        if !same {
            notes.push("the node kept changing while it was graded".to_owned());
        }
        let explained = explain(&context, &outcomes, &definition.misconceptions);
        return Ok(report(node, resolved, outcomes, explained, notes));
    }
}

/// How often a grading starts anew because the node changed under it.
const TRIES: u32 = 3;

/// Waits while the kubelet still acts on a change, or a started API server is not ready yet.
fn settle(
    node: &dyn Node,
    options: Options,
    progress: &dyn Fn(&str),
    notes: &mut Vec<String>,
) -> Result<ApiServerState, NodeError> {
    let start = Instant::now();
    let mut told = false;
    let mut last_quiet = false;
    loop {
        let state = node.api_server()?;
        let starting = state.state == ContainerPhase::Running && !state.ready;
        let quiet = !state.converging && !starting;
        // A change made a moment ago may not have reached the kubelet's eyes: quiet twice is quiet.
        if quiet && last_quiet {
            return Ok(state);
        }
        last_quiet = quiet;
        if start.elapsed() > options.settle && !quiet {
            let note = format!(
                "the node was still changing after {} s; graded as it is now",
                options.settle.as_secs()
            );
            progress(&note);
            notes.push(note);
            return Ok(state);
        }
        if !told && start.elapsed() > Duration::from_millis(300) {
            progress("waiting for the kubelet and the API server to act on the last change …");
            told = true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A crash loop whose cause is gone: the policy on the node loads now, the kubelet just has not tried
/// again. It is worth waiting for a short while.
fn await_retry(
    node: &dyn Node,
    state: &ApiServerState,
    options: Options,
    progress: &dyn Fn(&str),
) -> Result<Option<ApiServerState>, NodeError> {
    let crashed = matches!(
        state.state,
        ContainerPhase::Waiting | ContainerPhase::Exited
    ) && state
        .log_tail
        .iter()
        .any(|line| line.contains("audit policy"));
    if !crashed || !policy_loads_now(node, state)? {
        return Ok(None);
    }
    progress("the policy can be loaded now; waiting for the kubelet to try again …");
    let start = Instant::now();
    let limit = options.settle.min(node.retry_patience());
    loop {
        let state = node.api_server()?;
        if state.ready && !state.converging {
            return Ok(Some(state));
        }
        if start.elapsed() > limit {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn policy_loads_now(node: &dyn Node, state: &ApiServerState) -> Result<bool, NodeError> {
    let facts = Facts::gather(node, state.clone())?;
    let Ok(pod) = &facts.manifest else {
        return Ok(false);
    };
    // Another manifest of the same pod may be the one that is tried again.
    if detect::other_manifest(&facts).is_some() {
        return Ok(false);
    }
    let Some(flag) = facts.manifest_flags.text("audit-policy-file") else {
        return Ok(true);
    };
    let Target::Node { path, .. } = pod.target(flag) else {
        return Ok(false);
    };
    Ok(match node.read(&path)? {
        NodeFile::File { content, .. } => load(&content).is_ok(),
        _ => false,
    })
}

type Fresh = Vec<(String, Vec<String>)>;

/// Sends the probes and waits for their entries.
fn probe(
    node: &dyn Node,
    resolved: &Resolved,
    facts: &Facts,
    reference: &Policy,
    how: Stages,
    options: Options,
    courier: &dyn Courier,
) -> Result<(Volley, Fresh), NodeError> {
    let mut paths: Vec<&String> = Vec::new();
    for check in &resolved.definition.checks {
        let path = check
            .log
            .as_ref()
            .map(|log| &log.path)
            .or_else(|| check.probes.as_ref().map(|probes| &probes.path));
        if let Some(path) = path
            && !paths.contains(&path)
        {
            paths.push(path);
        }
    }
    let mut tails = Vec::new();
    for path in paths {
        tails.push(LogTail::begin(node, path)?);
    }
    let volley = probes::send(&resolved.definition.probes, reference, courier);
    // Where the API server writes elsewhere, or nothing at all, there is nothing to wait for.
    let written = tails
        .iter()
        .map(LogTail::path)
        .filter(|path| checks::log::is_own_log(node, facts, path).is_ok());
    let written: Vec<&str> = written.filter(|_| facts.policy.is_some()).collect();
    // In batch mode, which is the default of the webhook, entries may take as long as a batch may wait.
    let batched = written.iter().any(|path| match facts.sink(path) {
        Some(_) => !matches!(
            facts.flags.get("audit-webhook-mode"),
            Some("blocking" | "blocking-strict")
        ),
        None => facts.flags.get("audit-log-mode") == Some("batch"),
    });
    let limit = match (written.is_empty(), batched) {
        (true, _) => Duration::ZERO,
        (_, true) => options.entries + Duration::from_secs(32),
        (_, false) => options.entries,
    };
    // Every request has been answered: an entry that must not be there would be written by now, or
    // at the latest together with those that are waited for.
    let quiet = Duration::from_millis(80).min(limit);
    let start = Instant::now();
    loop {
        let mut fresh: Fresh = Vec::new();
        for tail in &tails {
            fresh.push((tail.path().to_owned(), tail.fresh(node)?));
        }
        let complete = fresh.iter().all(|(_, lines)| {
            volley.sent.iter().all(|sent| {
                sent.wanted.level == Level::None || sent.answer.is_err() || {
                    let own: Vec<&str> = lines
                        .iter()
                        .map(String::as_str)
                        .filter(|line| line.contains(&sent.message.audit_id))
                        .collect();
                    own.len() >= stages(sent, how).0.len() || judge(sent, &own, how).is_ok()
                }
            })
        });
        let waited = start.elapsed();
        if (complete && waited >= quiet) || waited >= limit {
            return Ok((volley, fresh));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks for every object of the setup; gives those that are gone, in words.
fn objects(baseline: &Baseline, courier: &dyn Courier) -> Vec<String> {
    if baseline.objects.is_empty() {
        return Vec::new();
    }
    let mut words = Vec::new();
    let mut messages = Vec::new();
    for object in &baseline.objects {
        let text = |path: &str| {
            let value = object.pointer(path).and_then(serde_json::Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let kind = text("/kind");
        let version = text("/apiVersion");
        let name = text("/metadata/name");
        let namespace = text("/metadata/namespace");
        let prefix = if version.contains('/') {
            format!("/apis/{version}")
        } else {
            format!("/api/{version}")
        };
        let within = if namespace.is_empty() {
            String::new()
        } else {
            format!("/namespaces/{namespace}")
        };
        messages.push(Message {
            method: http::Method::GET,
            path: format!("{prefix}{within}/{}/{name}", plural(&kind)),
            content_type: "application/json",
            body: Vec::new(),
            audit_id: uuid::Uuid::new_v4().to_string(),
            endless: false,
        });
        words.push(if namespace.is_empty() {
            format!("{kind} `{name}`")
        } else {
            format!("{kind} `{name}` in namespace `{namespace}`")
        });
    }
    let answers = courier.send(&[(Identity::SuperAdmin, messages)]);
    answers
        .into_iter()
        .flatten()
        .zip(words)
        .filter(|(answer, _)| answer.as_ref().is_ok_and(|answer| answer.code == 404))
        .map(|(_, words)| words)
        .collect()
}

fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    if lower.ends_with('s') {
        format!("{lower}es")
    } else if let Some(stem) = lower.strip_suffix('y') {
        format!("{stem}ies")
    } else {
        format!("{lower}s")
    }
}

/// Makes every check; those whose requirements did not pass are blocked.
fn check_all(context: &Context<'_>, checks: &[Check]) -> Vec<(Check, Outcome)> {
    let mut done: Vec<(Check, Outcome)> = checks
        .iter()
        .map(|check| (check.clone(), checks::run(context, check)))
        .collect();
    // Requirements may form chains, so blocking goes on until nothing changes.
    loop {
        let not_passed: Vec<String> = done
            .iter()
            .filter(|(_, outcome)| outcome.status != CheckStatus::Pass)
            .map(|(check, _)| check.id.clone())
            .collect();
        let mut changed = false;
        for (check, outcome) in &mut done {
            if outcome.status != CheckStatus::Pass {
                continue;
            }
            if let Some(by) = check.requires.iter().find(|id| not_passed.contains(id)) {
                outcome.status = CheckStatus::Blocked;
                outcome.seen = format!("{}; counts once `{by}` passes", outcome.seen);
                outcome.next = "ckslab task".to_owned();
                changed = true;
            }
        }
        if !changed {
            return done;
        }
    }
}

/// A misconception for each check that failed, where one is known.
fn explain(
    context: &Context<'_>,
    outcomes: &[(Check, Outcome)],
    declared: &[Misconception],
) -> Vec<Option<(String, String)>> {
    let findings = detect::detect(context, outcomes);
    let status = |id: &String| {
        outcomes
            .iter()
            .find(|(check, _)| check.id == *id)
            .map(|(_, outcome)| outcome.status)
    };
    outcomes
        .iter()
        .enumerate()
        .map(|(index, (check, outcome))| {
            if outcome.status != CheckStatus::Fail {
                return None;
            }
            let own = declared.iter().find(|misconception| {
                misconception.explains.contains(&check.id)
                    && misconception
                        .failing
                        .iter()
                        .all(|id| status(id) == Some(CheckStatus::Fail))
                    && misconception
                        .passing
                        .iter()
                        .all(|id| status(id) == Some(CheckStatus::Pass))
                    && misconception.detector.as_ref().is_none_or(|detector| {
                        findings.iter().any(|finding| {
                            finding.id == detector && finding.explains.contains(&index)
                        })
                    })
            });
            if let Some(own) = own {
                return Some((own.id.clone(), own.text.trim().to_owned()));
            }
            findings
                .iter()
                .find(|finding| finding.explains.contains(&index))
                .map(|finding| (finding.id.to_owned(), finding.text.clone()))
        })
        .collect()
}

fn report(
    node: &dyn Node,
    resolved: &Resolved,
    outcomes: Vec<(Check, Outcome)>,
    explained: Vec<Option<(String, String)>>,
    mut notes: Vec<String>,
) -> Report {
    let definition = &resolved.definition;
    let mut required = true;
    let mut checks = Vec::with_capacity(outcomes.len());
    for ((check, outcome), misconception) in outcomes.into_iter().zip(explained) {
        let passed = outcome.status == CheckStatus::Pass;
        required &= passed || check.optional;
        let (misconception_id, misconception) = misconception.unzip();
        checks.push(CheckReport {
            id: check.id,
            title: check.title,
            layer: check.layer.number(),
            layer_name: check.layer.name(),
            points: if passed { check.points } else { 0 },
            max: check.points,
            status: outcome.status,
            expected: printable(&outcome.expected),
            seen: printable(&outcome.seen),
            next: if passed {
                None
            } else {
                check
                    .next
                    .filter(|_| outcome.status == CheckStatus::Fail)
                    .or(Some(outcome.next).filter(|next| !next.is_empty()))
                    .map(|next| printable(&next))
            },
            misconception: misconception.map(|text| printable(&text)),
            misconception_id,
        });
    }
    let score: u32 = checks.iter().map(|check| check.points).sum();
    let max: u32 = checks.iter().map(|check| check.max).sum();
    let percent = (score * 100).checked_div(max).unwrap_or(0);
    if checks.is_empty() {
        notes.push(format!(
            "`{}` is for free play: there is nothing to grade",
            definition.id
        ));
    }
    Report {
        schema_version: SCHEMA_VERSION,
        scenario: definition.id.clone(),
        title: definition.title.clone(),
        seed: resolved.seed,
        engine: node.engine().to_owned(),
        score,
        max,
        percent,
        passed: max > 0 && required && percent >= definition.pass,
        checks,
        notes,
    }
}

/// What is quoted from the node must not reach a terminal as control sequences, nor without bound.
fn printable(text: &str) -> String {
    const LONGEST: usize = 600;
    let cut: String = text.chars().take(LONGEST).collect();
    let mut out = crate::style::printable(&cut);
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}
