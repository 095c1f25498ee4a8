//! Layers 4 and 5: the log on the node, and fresh entries for the grader's requests.

use super::{Context, files, sink};
use crate::audit::level::Level;
use crate::grade::entries::{Problem, judge};
use crate::grade::facts::Facts;
use crate::grade::report::Outcome;
use crate::node::Node;
use crate::scenario::definition::{LogCheck, ProbesCheck};

/// Whether the log on the node is the one the running API server writes.
///
/// # Errors
/// Why not.
pub fn own_log(context: &Context<'_>, path: &str) -> Result<(), String> {
    is_own_log(context.node, context.facts, path)
}

/// As [`own_log`], before there is a context.
///
/// # Errors
/// Why not.
pub fn is_own_log(node: &dyn Node, facts: &Facts, path: &str) -> Result<(), String> {
    if let Some(receiver) = facts.sink(path) {
        return sink::leads_to(node, facts, receiver);
    }
    match facts.flags.text("audit-log-path") {
        None => Err("the running API server has no --audit-log-path".to_owned()),
        Some("-") => Err("the API server writes its audit log to standard output".to_owned()),
        Some(inside) => files::same_file(node, inside, path),
    }
}

/// The command that shows why the entries do not come.
fn where_to_look(context: &Context<'_>, path: &str) -> String {
    match (
        context.facts.sink(path),
        context.facts.flags.text(sink::FLAG),
    ) {
        (Some(_), Some(file)) => format!("grep server: {file}"),
        (Some(_), None) => format!(
            "ps -o args= -C kube-apiserver | grep -o '{}[^ ]*'",
            sink::FLAG
        ),
        _ => format!("ls -l {path}*"),
    }
}

/// The log is the running API server's, and what it writes arrives there.
pub fn log(context: &Context<'_>, check: &LogCheck) -> Outcome {
    let path = &check.path;
    let expected = format!("the running API server's entries arrive in `{path}` on the node");
    if let Err(seen) = own_log(context, path) {
        return Outcome::fail(expected, seen, where_to_look(context, path));
    }
    let lines = context.fresh_lines(path);
    let ours = lines
        .iter()
        .filter(|line| {
            context
                .volley
                .sent
                .iter()
                .any(|sent| line.contains(&sent.message.audit_id))
        })
        .count();
    if ours == 0 && context.facts.sink(path).is_some() {
        return Outcome::fail(
            expected,
            format!(
                "the webhook leads to the receiver, but nothing of the grader's requests came to it: `{path}` has no entry of them"
            ),
            sink::WHY,
        );
    }
    if ours == 0 {
        return Outcome::fail(
            expected,
            format!(
                "`{path}` is the API server's log, but nothing of the grader's requests was added to it"
            ),
            format!("kubectl get ns; tail -1 {path}"),
        );
    }
    let nonce = &context.volley.nonce;
    for never in &check.never {
        let text = never.replace("NONCE", nonce);
        if lines.iter().any(|line| carries(line, &text)) {
            return if text == *never {
                Outcome::fail(
                    format!("no new entry has `{never}` in it"),
                    format!("entries of the grader's requests in `{path}` have"),
                    format!("grep -c '{never}' {path}"),
                )
            } else {
                Outcome::fail(
                    "no entry carries the content of a Secret",
                    format!("the value of the grader's own Secret is in `{path}`"),
                    format!("grep -c '\"data\"' {path}"),
                )
            };
        }
    }
    Outcome::pass(expected, "entries of the grader's requests were added")
}

/// Whether a line has a text, as it is or as the data of a Secret.
#[must_use]
pub fn carries(line: &str, text: &str) -> bool {
    line.contains(text) || line.contains(&base64_of(text))
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Probes are recorded as asked, and those that must not be are not.
pub fn probes(context: &Context<'_>, check: &ProbesCheck) -> Outcome {
    let path = &check.path;
    if let Err(seen) = own_log(context, path) {
        return Outcome::fail(
            format!("the grader's requests are recorded as asked in `{path}`"),
            seen,
            where_to_look(context, path),
        );
    }
    let lines = context.fresh_lines(path);
    let mut count = 0;
    let mut first: Option<(String, String, String)> = None;
    let mut wrong = 0;
    for sent in &context.volley.sent {
        if !check.ids.contains(&sent.probe) {
            continue;
        }
        count += 1;
        let own: Vec<&str> = lines
            .iter()
            .map(String::as_str)
            .filter(|line| line.contains(&sent.message.audit_id))
            .collect();
        if let Err(problem) = judge(sent, &own, context.stages) {
            if let Problem::NotSent(error) = &problem {
                return Outcome::blocked(
                    format!("{} can be tried", sent.words),
                    format!("blocked: the grader's request failed: {error}"),
                    context.facts.where_to_look(),
                );
            }
            wrong += 1;
            if first.is_none() {
                let wanted = match sent.wanted.level {
                    Level::None => "not recorded".to_owned(),
                    level => format!("recorded at level {}", level.name()),
                };
                let look = if matches!(problem, Problem::Missing(_)) {
                    format!("kubectl get ns; tail -2 {path}")
                } else {
                    // Not by Audit-ID: the same lab must give the same report every time.
                    let word = if sent.attributes.resource_request {
                        &sent.attributes.resource
                    } else {
                        &sent.attributes.path
                    };
                    format!("tail -n 50 {path} | grep {word} | tail -n 2")
                };
                first = Some((format!("{}: {wanted}", sent.words), problem.words(), look));
            }
        }
    }
    match first {
        None => Outcome::pass(
            "the grader's requests are recorded as asked, and no others",
            format!("{count} requests, all as asked"),
        ),
        Some((expected, seen, next)) => {
            let seen = match wrong {
                1 => seen,
                wrong => format!("{seen} ({wrong} of {count} requests are not as asked)"),
            };
            Outcome::fail(expected, seen, next)
        }
    }
}
