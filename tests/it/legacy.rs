//! The legacy format against recorded lines: the same commands were recorded with both formats, so the JSON
//! event of one session must give the legacy line of the other, but for what differs from run to run.

use ckslab::audit::event::Event;
use ckslab::node::embedded::apiserver::audit::legacy;
use serde_json::Value;

use crate::{replay, report};

/// Steps by their command, in order.
fn steps(session: &str) -> Vec<(Value, Vec<String>)> {
    let path = format!("events/{session}.steps.jsonl.gz");
    replay::gunzip(&replay::golden().join(path))
        .lines()
        .skip(1)
        .map(|line| {
            let step: Value = serde_json::from_str(line).unwrap();
            let events = step["events"]
                .as_array()
                .unwrap()
                .iter()
                .map(|event| event.as_str().unwrap().to_owned())
                .collect();
            (step["argv"].clone(), events)
        })
        .collect()
}

/// A line without its time, its id, the random ends of names, where a list goes on, and whether a client's
/// copy of `/openapi/v3` was fresh.
fn comparable(line: &str) -> String {
    let (time, rest) = line.split_once(" AUDIT: id=\"").unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    let (id, rest) = rest.split_once("\" stage=").unwrap();
    assert_eq!(id.len(), 36);
    let rest = rest.replace("response=\"304\"", "response=\"200\"");
    let mut out = String::new();
    for word in rest.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let (text, end) = match word.char_indices().next_back() {
            Some((at, c)) if !c.is_ascii_alphanumeric() => word.split_at(at),
            _ => (word, ""),
        };
        let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
        let is_token = text.starts_with("eyJ");
        let is_random = is_token || (5..=10).contains(&text.len()) && has_digit;
        out.push_str(if is_random { "RANDOM" } else { text });
        out.push_str(end);
    }
    out
}

#[test]
fn legacy_lines_agree_with_recorded_ones() {
    let legacy_steps = steps("upstream-example-legacy");
    let mut json_steps = steps("upstream-example").into_iter();
    let (mut agree, mut total) = (0, 0);
    let mut differences = Vec::new();
    for (command, wanted) in legacy_steps {
        let (_, events) = json_steps.find(|(argv, _)| *argv == command).unwrap();
        let mut got: Vec<String> = events
            .iter()
            .map(|event| legacy::line(&serde_json::from_str::<Event>(event).unwrap()))
            .map(|line| comparable(&line))
            .collect();
        let mut want: Vec<String> = wanted.iter().map(|line| comparable(line)).collect();
        got.sort();
        want.sort();
        total += want.len();
        agree += want.iter().filter(|line| got.contains(line)).count();
        if got != want {
            differences.push(format!("{command}: {got:#?}\nwant {want:#?}"));
        }
    }
    report::agreement("legacy", "lines", agree, total, 0);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
