//! What a learner wrote into a file of answers, read leniently: YAML, JSON or plain lines; what is
//! wrong with a line spoils that line only. The file is the learner's: bounded, and nothing in it is
//! more than text.

use std::collections::BTreeMap;

use serde_json::Value;

use super::answer::{AnswerCheck, LogAsk};

/// More bytes than this are not read.
const LARGEST: usize = 64 << 10;

/// The answers of a file, by key in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnswerSheet {
    answers: BTreeMap<String, Given>,
}

/// An answer that was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Its values.
    pub values: Vec<String>,
    /// How often the key is there.
    pub times: usize,
}

impl AnswerSheet {
    /// Reads a file.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let bytes = bytes.get(..LARGEST).unwrap_or(bytes);
        let mut sheet = Self::default();
        if let Ok(Value::Object(answers)) = serde_json::from_slice(bytes) {
            for (key, value) in &answers {
                let given = sheet.answers.entry(plain(key)).or_default();
                given.times += 1;
                given.values.extend(texts(value).map(|text| plain(&text)));
            }
            return sheet;
        }
        let text = String::from_utf8_lossy(bytes);
        let mut last: Option<String> = None;
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.trim();
            if let Some(item) = line.strip_prefix("- ")
                && let Some(given) = last.as_ref().and_then(|key| sheet.answers.get_mut(key))
            {
                given.values.extend(values(item));
                continue;
            }
            let line = line.trim_start_matches(['{', ' ']).trim_end_matches('}');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((key, value)) = split(line) else {
                continue;
            };
            let key = plain(key);
            let given = sheet.answers.entry(key.clone()).or_default();
            given.times += 1;
            given.values.extend(values(value));
            last = Some(key);
        }
        sheet
    }

    /// The answer of this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Given> {
        self.answers
            .get(&plain(key))
            .filter(|given| !given.values.is_empty())
    }
}

/// The values of a JSON value.
fn texts(value: &Value) -> impl Iterator<Item = String> {
    let all = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    all.iter().map(|item| match item {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

/// Key and value of a line; a quoted key may have anything in it.
fn split(line: &str) -> Option<(&str, &str)> {
    if let Some(quote) = line.chars().next().filter(|first| "\"'".contains(*first)) {
        let rest = line.get(1..)?;
        let (key, rest) = rest.split_once(quote)?;
        return Some((key, rest.trim_start().strip_prefix([':', '='])?));
    }
    line.split_once([':', '='])
}

/// The values of a line: a list, or one.
fn values(text: &str) -> Vec<String> {
    let text = match text.split_once(" #") {
        Some((value, _)) if !text.trim_start().starts_with(['"', '\'']) => value,
        _ => text,
    };
    let text = text.trim().trim_end_matches(',').trim();
    let text = text.strip_prefix('[').unwrap_or(text);
    let text = text.strip_suffix(']').unwrap_or(text);
    text.split(',')
        .map(plain)
        .filter(|value| !value.is_empty())
        .collect()
}

/// Without quotes, in lower case, with single blanks.
fn plain(text: &str) -> String {
    let text = text
        .trim()
        .trim_matches(['"', '\'', '`'])
        .trim_end_matches('.');
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

impl AnswerCheck {
    /// Whether what was given is the solution: the same values, in any order, each once.
    #[must_use]
    pub fn is_right(&self, given: &[String], solution: &[String]) -> bool {
        let is_agent = self
            .query
            .as_ref()
            .is_some_and(|query| query.ask == LogAsk::Agent);
        given.len() == solution.len()
            && solution.iter().all(|right| {
                given
                    .iter()
                    .any(|value| same(value, right) || (is_agent && same_agent(value, right)))
            })
    }
}

/// Whether two values mean the same.
fn same(given: &str, right: &str) -> bool {
    let right = plain(right);
    if given == right {
        return true;
    }
    if let (Some(a), Ok(b)) = (number(given), right.parse::<u64>()) {
        return a == b;
    }
    let words: &[&str] = match right.as_str() {
        "yes" => &["y", "true", "on"],
        "no" => &["n", "false", "off"],
        "none" => &["null", "~", "-"],
        "unlimited" => &["no limit", "infinite", "unbounded", "without limit"],
        _ => &[],
    };
    words.contains(&given)
}

/// A number, with or without the word that says of what.
fn number(text: &str) -> Option<u64> {
    const WORDS: [&str; 16] = [
        "",
        "mb",
        "mib",
        "m",
        "megabyte",
        "megabytes",
        "d",
        "day",
        "days",
        "file",
        "files",
        "entry",
        "entries",
        "request",
        "requests",
        "times",
    ];
    let text = text
        .strip_prefix("rule ")
        .unwrap_or(text)
        .trim_start_matches('#');
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, word) = text.split_at_checked(end)?;
    let known = WORDS.contains(&word.trim());
    digits.parse().ok().filter(|_| known)
}

fn same_agent(given: &str, right: &str) -> bool {
    let right = plain(right);
    let program = right.split(' ').next().unwrap_or_default();
    given == program || program.split('/').next() == Some(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, key: &str) -> Vec<String> {
        let sheet = AnswerSheet::read(text.as_bytes());
        sheet
            .get(key)
            .map(|given| given.values.clone())
            .unwrap_or_default()
    }

    #[test]
    fn answers_are_read_in_any_style() {
        for text in [
            "q1: Metadata",
            "Q1 :  metadata  ",
            "q1=METADATA",
            "'q1': \"Metadata\" ",
            "{\"q1\": \"Metadata\", }",
            "\u{feff}# answers\n---\nq1: Metadata # surely\n",
            "q0: x\r\nq1: Metadata\r\n",
            "q1:\n  - Metadata\n",
            "{\"q0\": 3, \"q1\": [\"Metadata\"]}",
        ] {
            assert_eq!(read(text, "q1"), ["metadata"], "{text:?}");
        }
        let both = ["requestreceived", "responsecomplete"];
        for text in [
            "s: [RequestReceived, ResponseComplete]",
            "s: RequestReceived, ResponseComplete",
            "s:\n- RequestReceived\n- \"ResponseComplete\"\n",
        ] {
            assert_eq!(read(text, "s"), both, "{text:?}");
        }
        let account = "system:serviceaccount:pay:robot";
        assert_eq!(read(&format!("who: {account}"), "who"), [account]);
    }

    #[test]
    fn an_answer_counts_once() {
        let sheet = AnswerSheet::read(b"q1: None\nq1: Metadata\n");
        assert_eq!(sheet.get("q1").unwrap().times, 2);
        assert_eq!(sheet.get("q1").unwrap().values.len(), 2);
    }

    #[test]
    fn hostile_files_are_text() {
        for text in [
            &b"\xff\xfe\x00q1: \x1b[31m"[..],
            b"q1: !!python/object:os.system",
            b"&a [*a,*a]\nq1: *a",
            b"- x\n: :\n=\n{{{{{{{{\n",
            "a: ".repeat(50_000).as_bytes(),
            b"",
        ] {
            let _ = AnswerSheet::read(text);
        }
        let bombed = format!("{}\nq1: None\n", "[".repeat(1 << 20));
        assert_eq!(read(&bombed, "q1"), Vec::<String>::new());
    }

    #[test]
    fn values_are_compared_by_meaning() {
        assert!(same("metadata", "Metadata"));
        assert!(same("600 mb", "600"));
        assert!(same("0600", "600"));
        assert!(same("#3", "3"));
        assert!(same("rule 3", "3"));
        assert!(same("true", "yes"));
        assert!(!same("6000", "600"));
        assert!(!same("600 dogs", "600"));
        assert!(!same("metadata request", "Metadata"));
        assert!(!same("", "0"));
        assert!(same_agent("kubectl", "kubectl/v1.36.2 (linux/amd64)"));
        assert!(same_agent(
            "kubectl/v1.36.2",
            "kubectl/v1.36.2 (linux/amd64)"
        ));
        assert!(!same_agent("kube", "kubectl/v1.36.2 (linux/amd64)"));
    }
}
