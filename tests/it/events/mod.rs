//! Runs the commands of fixtures/golden/events with a real kubectl and curl against our API server, with
//! its controllers, over TLS, and compares what they printed and the audit entries they caused.
//!
//! Steps that are known to differ are listed in fixtures/known-differences/events.txt. Any other
//! difference fails, and so does a listed step that agrees: the list only shrinks. A session that
//! surprises is replayed once more; what differs in one of the two only is said, and counts as agreed.
//!
//! `cargo test` runs [`BY_DEFAULT`]; `EVENTS=all` all sessions, `EVENTS=namespaces` only those whose name
//! contains that. `EVENTS_SHOW=20` prints that many differences of each session, listed ones too;
//! `EVENTS_REWRITE=1` writes the list anew, keeping the reasons that are there.

mod cluster;
mod informers;
mod masks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cluster::Cluster;
use serde_json::Value;

use crate::replay::KnownDifferences;
use crate::{builder, replay, report};

/// Steps that are known to differ.
const LIST: &str = "events.txt";

/// Sessions of `cargo test`: every step once, every audit level, both formats.
const BY_DEFAULT: [&str; 4] = [
    "everything-rr",
    "metadata-all",
    "upstream-example-legacy",
    "metadata-all-kubectl-1.32",
];

/// A difference of a step: what is compared, and how.
struct Difference {
    step: u64,
    text: String,
    brief: String,
}

#[derive(Default)]
struct Tally {
    answers: usize,
    sets: usize,
    total: usize,
    differences: Vec<Difference>,
}

/// The kubectls at hand, by minor version.
fn kubectls() -> BTreeMap<String, PathBuf> {
    let named = std::env::var_os("CKSLAB_TEST_KUBECTL").map(PathBuf::from);
    let mut found = BTreeMap::new();
    for path in [Some(PathBuf::from("kubectl")), named]
        .into_iter()
        .flatten()
    {
        let version = Command::new(&path)
            .args(["version", "--client"])
            .stderr(Stdio::null())
            .output();
        let Ok(output) = version else { continue };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split("Client Version: v1.").nth(1).unwrap_or_default();
        let minor = version.split('.').next().unwrap_or_default().to_owned();
        found.insert(minor, path);
    }
    found
}

/// Whether two outputs are the same as far as they were recorded.
fn same_text(want: &str, got: &str, truncated: bool) -> bool {
    if !truncated {
        return masks::printed(want) == masks::printed(got);
    }
    let cut: String = got.chars().take(4096).collect();
    let (want, got) = (masks::printed(want), masks::printed(&cut));
    let shared = want.len().min(got.len()).saturating_sub(200);
    want.as_bytes()[..shared] == got.as_bytes()[..shared]
}

async fn replay(path: &Path, kubectl: &Path, same_client: bool) -> Tally {
    let text = replay::gunzip(path);
    let mut rows = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let head = rows.next().unwrap();
    let mut cluster = Cluster::raise(&head, kubectl).await;
    let mut tally = Tally::default();
    let mut token = String::new();
    let mut revision = 0;
    for step in rows {
        let n = step["n"].as_u64().unwrap();
        if cluster.revision() != revision {
            cluster.settle().await;
        }
        revision = cluster.revision();
        let outcome = cluster.run(&step, &token).await;
        let wanted: Vec<Value> = step["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| masks::entry(line.as_str().unwrap()))
            .collect();
        let got: Vec<Value> = cluster
            .entries(wanted.len())
            .await
            .iter()
            .map(|line| masks::entry(line))
            .collect();
        if step["captureStdoutAs"].is_string() {
            token = outcome.stdout.trim().to_owned();
        }
        let mut notes = Vec::new();
        if step["exit"] != outcome.exit {
            notes.push(format!("exit {} want {}", outcome.exit, step["exit"]));
        }
        let is_curl = step["argv"][0] == "curl";
        if same_client || is_curl {
            for (name, text) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)] {
                let want = step[name].as_str().unwrap();
                let sorted = |text: &str| {
                    let mut lines: Vec<&str> = text.lines().collect();
                    lines.sort_unstable();
                    lines.join("\n")
                };
                // The components are asked all at once.
                let (want, text) = if step["argv"][2] == "cs" {
                    (sorted(want), sorted(text))
                } else {
                    (want.to_owned(), text.clone())
                };
                let truncated = !step[format!("{name}TruncatedFrom")].is_null();
                if !same_text(&want, &text, truncated) {
                    notes.push(format!(
                        "{name} `{}`\n      want `{}`",
                        first_difference(&text, &want),
                        first_difference(&want, &text)
                    ));
                }
            }
        }
        tally.total += 1;
        tally.answers += usize::from(notes.is_empty());
        let before = notes.len();
        if same_client || is_curl {
            compare_sets(&wanted, &got, &mut notes);
        }
        tally.sets += usize::from(notes.len() == before);
        if let Some(first) = notes.first() {
            let words: Vec<&str> = step["argv"]
                .as_array()
                .unwrap()
                .iter()
                .map(|word| word.as_str().unwrap())
                .collect();
            let mut brief: String = first.replace(['\n', '\r'], " ");
            brief = brief.chars().take(200).collect();
            tally.differences.push(Difference {
                step: n,
                text: format!(
                    "  step {n}: {}\n    {}",
                    words.join(" ").chars().take(300).collect::<String>(),
                    notes.join("\n    ")
                ),
                brief,
            });
        }
    }
    cluster.end().await;
    tally
}

/// The line where a text begins to differ from another, after masking.
fn first_difference(text: &str, other: &str) -> String {
    let (text, other) = (masks::printed(text), masks::printed(other));
    let others: Vec<&str> = other.lines().collect();
    text.lines()
        .enumerate()
        .find(|(i, line)| others.get(*i) != Some(line))
        .map_or_else(String::new, |(_, line)| line.chars().take(400).collect())
}

/// Compares as sets: pairs what is about the same stage of the same request.
fn compare_sets(wanted: &[Value], got: &[Value], notes: &mut Vec<String>) {
    let key = |entry: &Value| match entry {
        Value::String(line) => line.clone(),
        entry => format!(
            "{} {} {}",
            entry["stage"].as_str().unwrap_or_default(),
            entry["verb"].as_str().unwrap_or_default(),
            entry["requestURI"].as_str().unwrap_or_default()
        ),
    };
    let mut rest: Vec<&Value> = got.iter().collect();
    for want in wanted {
        let mut found: Vec<(usize, Vec<String>)> = rest
            .iter()
            .enumerate()
            .filter(|(_, entry)| key(entry) == key(want))
            .map(|(at, entry)| {
                let mut out = Vec::new();
                masks::differences(want, entry, "$", &mut out);
                (at, out)
            })
            .collect();
        found.sort_by_key(|(_, differences)| differences.len());
        match found.into_iter().next() {
            Some((at, differences)) => {
                rest.remove(at);
                notes.extend(
                    differences
                        .into_iter()
                        .map(|text| format!("[{}] {text}", key(want))),
                );
            }
            None => notes.push(format!("entry missing: {}", key(want))),
        }
    }
    notes.extend(
        rest.iter()
            .map(|entry| format!("entry surplus: {}", key(entry))),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_commands_print_and_leave_entries_alike() {
    if !builder::has_kubectl() {
        return;
    }
    if Command::new("curl").arg("--version").output().is_err() {
        report::skipped("curl is not installed");
        return;
    }
    let wanted = std::env::var("EVENTS").unwrap_or_default();
    let kubectls = kubectls();
    let newest = kubectls.last_key_value().unwrap();
    let mut sessions: Vec<(String, PathBuf)> = std::fs::read_dir(replay::golden().join("events"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let name = path
                .file_name()?
                .to_str()?
                .strip_suffix(".steps.jsonl.gz")?
                .to_owned();
            Some((name, path))
        })
        .filter(|(name, _)| match wanted.as_str() {
            "" => BY_DEFAULT.contains(&name.as_str()),
            "all" => true,
            part => name.contains(part),
        })
        .collect();
    sessions.sort();
    let tasks: Vec<_> = sessions
        .into_iter()
        .map(|(name, path)| {
            let minor = if name.ends_with("1.32") { "32" } else { "36" };
            let (have, kubectl) = kubectls.get_key_value(minor).unwrap_or(newest);
            // Another kubectl makes other requests: then only what it answers is compared.
            let same_client = have == minor;
            let kubectl = kubectl.clone();
            tokio::spawn(async move {
                let tally = replay(&path, &kubectl, same_client).await;
                (name, path, kubectl, same_client, tally)
            })
        })
        .collect();
    let show: usize = std::env::var("EVENTS_SHOW")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let known = KnownDifferences::read(LIST);
    let mut now = KnownDifferences::read(LIST);
    let mut surprises = String::new();
    let mut all = Vec::new();
    for task in tasks {
        let (name, path, kubectl, same_client, mut tally) = task.await.unwrap();
        for difference in tally.differences.iter().take(show) {
            println!("{name}{}", difference.text);
        }
        report::line(format!(
            "events {name}: {} of {} answers, {} entry sets{}",
            tally.answers,
            tally.total,
            tally.sets,
            if same_client {
                ""
            } else {
                " (curl's; another kubectl)"
            },
        ));
        if same_client {
            let rewrites = std::env::var_os("EVENTS_REWRITE").is_some();
            if !rewrites && is_surprising(&name, &tally, &known) {
                // A difference of timing is another one the next time.
                let second = replay(&path, &kubectl, same_client).await;
                keep_common(&name, &mut tally, second, &known);
            }
            judge(&name, &tally, &known, &mut now, &mut surprises);
        }
        all.push((name, tally));
    }
    let total: usize = all.iter().map(|(_, tally)| tally.total).sum();
    let answers: usize = all.iter().map(|(_, tally)| tally.answers).sum();
    let sets: usize = all.iter().map(|(_, tally)| tally.sets).sum();
    report::agreement(
        "events sessions",
        "answers",
        answers,
        total,
        total - answers,
    );
    report::agreement("events sessions", "entry sets", sets, total, total - sets);
    if std::env::var_os("EVENTS_REWRITE").is_some() {
        now.write(LIST);
        return;
    }
    assert!(
        surprises.is_empty(),
        "other differences than fixtures/known-differences/{LIST} lists \
         (EVENTS_REWRITE=1 writes it anew):\n{surprises}"
    );
}

/// Whether a session differs otherwise than known.
fn is_surprising(name: &str, tally: &Tally, known: &KnownDifferences) -> bool {
    let mut surprises = String::new();
    judge(
        name,
        tally,
        known,
        &mut KnownDifferences::read(LIST),
        &mut surprises,
    );
    !surprises.is_empty()
}

/// Takes from two replays of a session what surprised in both, and says what did so in one.
fn keep_common(name: &str, first: &mut Tally, second: Tally, known: &KnownDifferences) {
    let differs = |tally: &Tally, step: u64| {
        tally
            .differences
            .iter()
            .any(|difference| difference.step == step)
    };
    let is_known = |step: u64| known.0.contains_key(&(name.to_owned(), step));
    for difference in &first.differences {
        if !is_known(difference.step) && !differs(&second, difference.step) {
            report::line(format!(
                "events {name}: once, but not again:\n{}",
                difference.text
            ));
        }
    }
    first
        .differences
        .retain(|difference| is_known(difference.step) || differs(&second, difference.step));
    for difference in second.differences {
        if is_known(difference.step) && !differs(first, difference.step) {
            first.differences.push(difference);
        }
    }
}

/// Compares the steps of a session that differ with those that are known to.
fn judge(
    name: &str,
    tally: &Tally,
    known: &KnownDifferences,
    now: &mut KnownDifferences,
    surprises: &mut String,
) {
    now.0
        .retain(|(session, _), reason| session != name || reason.starts_with("unstable: "));
    for difference in &tally.differences {
        let id = (name.to_owned(), difference.step);
        let reason = known.0.get(&id);
        if reason.is_none() {
            surprises.push_str(&format!("{name}:\n{}\n", difference.text));
        }
        now.0
            .insert(id, reason.unwrap_or(&difference.brief).clone());
    }
    for ((session, step), reason) in &known.0 {
        let differs = tally
            .differences
            .iter()
            .any(|difference| difference.step == *step);
        if session == name && !differs && !reason.starts_with("unstable: ") {
            surprises.push_str(&format!(
                "{name}:\n  step {step} agrees now: take it off the list\n"
            ));
        }
    }
}
