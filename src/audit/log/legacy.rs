//! Lines written with `--audit-log-format=legacy` (`EventString` in `k8s.io/apiserver/pkg/audit/format.go`).

use super::record::Record;
use super::uri;

/// Understands a legacy line.
pub(super) fn parse(line: &str) -> Option<Record> {
    let (stamp, rest) = line.split_once(" AUDIT: ")?;
    let mut record = Record {
        time: stamp.trim().parse().ok(),
        ..Record::default()
    };
    let mut rest = rest;
    let mut known = 0;
    while let Some((name, after)) = rest.split_once("=\"") {
        let (value, tail) = unquote(after)?;
        let value = if value == "<none>"
            || value == "<self>"
            || value == "<lookup>"
            || value == "<deferred>"
        {
            String::new()
        } else {
            value
        };
        known += 1;
        match name.trim() {
            "id" => record.audit_id = value,
            "stage" => record.stage = value,
            "ip" => {
                record.source_ips = value
                    .split(", ")
                    .filter(|ip| !ip.is_empty())
                    .map(str::to_owned)
                    .collect()
            }
            "method" => record.verb = value,
            "user" => record.user = value,
            "groups" => record.groups = groups(&value),
            "as" => record.impersonated = Some(value).filter(|user| !user.is_empty()),
            "user-agent" => record.user_agent = value,
            "namespace" => record.namespace = value,
            "uri" => record.uri = value,
            "response" => record.code = value.parse().ok(),
            _ => known -= 1,
        }
        rest = tail;
    }
    if record.audit_id.is_empty() || known < 3 {
        return None;
    }
    uri::fill(&mut record);
    Some(record)
}

/// A Go-quoted text up to its closing quote, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, text.get(at + 1..)?)),
            '\\' => {
                let (_, escaped) = chars.next()?;
                let digits = match escaped {
                    'n' => {
                        out.push('\n');
                        0
                    }
                    't' => {
                        out.push('\t');
                        0
                    }
                    'r' => {
                        out.push('\r');
                        0
                    }
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    other => {
                        out.push(other);
                        0
                    }
                };
                if digits > 0 {
                    let mut code = 0u32;
                    for _ in 0..digits {
                        code = code.checked_mul(16)? + chars.next()?.1.to_digit(16)?;
                    }
                    out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                }
            }
            c => out.push(c),
        }
    }
    None
}

/// `"a","b"`, quoted each.
fn groups(text: &str) -> Vec<String> {
    let mut groups = Vec::new();
    let mut rest = text;
    while let Some(after) = rest.strip_prefix('"') {
        let Some((group, tail)) = unquote(after) else {
            break;
        };
        groups.push(group);
        rest = tail.strip_prefix(',').unwrap_or(tail);
    }
    groups
}
