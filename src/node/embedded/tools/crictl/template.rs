//! The part of Go's `text/template` that `-o go-template` is used with: fields, `range`, `if`, `json`,
//! `index`, `len`, `printf "%s"`-free text.

use serde_json::Value;

/// Nested blocks, and pieces rendered, at most: a template is a learner's.
const DEPTH: usize = 16;
const LENGTH: usize = 1 << 20;

/// What a template makes of a value.
///
/// # Errors
/// What cannot be understood.
pub(super) fn render(text: &str, value: &Value) -> Result<String, String> {
    let pieces = split(text)?;
    let mut out = String::new();
    let end = block(&pieces, 0, value, value, true, 0, &mut out)?;
    match pieces.get(end) {
        None => Ok(out),
        Some(_) => Err("template: unexpected {{end}}".to_owned()),
    }
}

enum Piece {
    Text(String),
    Action(String),
}

fn split(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim = false;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, tail) = after.split_once("}}").ok_or("template: unclosed action")?;
        let before = if trim { before.trim_start() } else { before };
        let (left, action) = match action.strip_prefix("- ") {
            Some(action) => (true, action),
            None => (false, action),
        };
        let (right, action) = match action.strip_suffix(" -") {
            Some(action) => (true, action),
            None => (false, action),
        };
        let before = if left { before.trim_end() } else { before };
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(Piece::Action(action.trim().to_owned()));
        trim = right;
        rest = tail;
    }
    let rest = if trim { rest.trim_start() } else { rest };
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

/// Renders (or passes over) pieces up to the end or the `else` of a block; gives where that is.
fn block(
    pieces: &[Piece],
    mut at: usize,
    root: &Value,
    dot: &Value,
    live: bool,
    depth: usize,
    out: &mut String,
) -> Result<usize, String> {
    if depth > DEPTH {
        return Err("template: exceeded maximum template depth".to_owned());
    }
    while let Some(piece) = pieces.get(at) {
        let action = match piece {
            Piece::Text(text) => {
                if live {
                    out.push_str(text);
                }
                at += 1;
                continue;
            }
            Piece::Action(action) => action.as_str(),
        };
        if out.len() > LENGTH {
            return Err("template: output too long".to_owned());
        }
        let (word, argument) = action.split_once(' ').unwrap_or((action, ""));
        match word {
            "end" | "else" => return Ok(at),
            "range" | "if" | "with" => {
                let value = if live {
                    evaluate(argument, root, dot)?
                } else {
                    Value::Null
                };
                let items: Vec<Value> = match (&value, word) {
                    (Value::Array(list), "range") => list.clone(),
                    (Value::Object(map), "range") => map.values().cloned().collect(),
                    (_, "range") => Vec::new(),
                    (value, "with") if truth(value) => vec![value.clone()],
                    (value, "if") if truth(value) => vec![dot.clone()],
                    _ => Vec::new(),
                };
                let mut end = block(pieces, at + 1, root, dot, false, depth + 1, out)?;
                for item in items.iter().filter(|_| live) {
                    block(pieces, at + 1, root, item, true, depth + 1, out)?;
                }
                if matches!(pieces.get(end), Some(Piece::Action(a)) if a == "else") {
                    let other = live && items.is_empty();
                    end = block(pieces, end + 1, root, dot, other, depth + 1, out)?;
                }
                if !matches!(pieces.get(end), Some(Piece::Action(a)) if a == "end") {
                    return Err("template: unexpected EOF".to_owned());
                }
                at = end + 1;
            }
            _ if action.starts_with("/*") => at += 1,
            _ => {
                if live {
                    out.push_str(&shown(&evaluate(action, root, dot)?));
                }
                at += 1;
            }
        }
    }
    Ok(at)
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// As Go's `fmt` prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(shown).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let mut items: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{k}:{}", shown(v)))
                .collect();
            items.sort_unstable();
            format!("map[{}]", items.join(" "))
        }
        other => other.to_string(),
    }
}

fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = if let Some(quoted) = rest.strip_prefix('"') {
            let mut escaped = false;
            let close = quoted.char_indices().find(|(_, c)| {
                let closes = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                closes
            });
            close.ok_or("template: unterminated quoted string")?.0 + 2
        } else {
            rest.find(char::is_whitespace).unwrap_or(rest.len())
        };
        words.push(rest.get(..end).unwrap_or("").to_owned());
        rest = rest.get(end..).unwrap_or("").trim_start();
    }
    Ok(words)
}

fn evaluate(text: &str, root: &Value, dot: &Value) -> Result<Value, String> {
    let mut piped: Option<Value> = None;
    for part in text.split('|') {
        let words = words(part)?;
        let Some((first, rest)) = words.split_first() else {
            return Err("template: missing value for command".to_owned());
        };
        let mut arguments: Vec<Value> = rest
            .iter()
            .map(|word| operand(word, root, dot))
            .collect::<Result<_, _>>()?;
        arguments.extend(piped.take());
        let one = || arguments.first().cloned().unwrap_or(Value::Null);
        piped = Some(match first.as_str() {
            "json" => Value::String(serde_json::to_string(&one()).unwrap_or_default()),
            "len" => match one() {
                Value::Array(list) => list.len().into(),
                Value::Object(map) => map.len().into(),
                Value::String(text) => text.len().into(),
                _ => return Err("template: error calling len".to_owned()),
            },
            "index" => {
                let mut keys = arguments.iter();
                let mut value = keys.next().cloned().unwrap_or(Value::Null);
                for key in keys {
                    let next = match key {
                        Value::String(key) => value.get(key),
                        Value::Number(n) => {
                            n.as_u64().and_then(|n| value.get(usize::try_from(n).ok()?))
                        }
                        _ => None,
                    };
                    value = next.cloned().unwrap_or(Value::Null);
                }
                value
            }
            "not" => Value::Bool(!truth(&one())),
            "eq" => Value::Bool(arguments.first() == arguments.get(1)),
            "ne" => Value::Bool(arguments.first() != arguments.get(1)),
            "print" | "println" => {
                let text: Vec<String> = arguments.iter().map(shown).collect();
                let end = if first == "println" { "\n" } else { "" };
                Value::String(format!("{}{end}", text.join(" ")))
            }
            word if rest.is_empty() => operand(word, root, dot)?,
            word => return Err(format!("template: :1: function {word:?} not defined")),
        });
    }
    Ok(piped.unwrap_or(Value::Null))
}

fn operand(word: &str, root: &Value, dot: &Value) -> Result<Value, String> {
    if word.starts_with('"') {
        return serde_json::from_str(word).map_err(|_| format!("template: bad string {word}"));
    }
    if let Ok(number) = word.parse::<i64>() {
        return Ok(number.into());
    }
    let (mut value, path) = match word.strip_prefix('$') {
        Some(path) => (root, path),
        None => (dot, word),
    };
    if word == "true" || word == "false" {
        return Ok(Value::Bool(word == "true"));
    }
    let Some(path) = path.strip_prefix('.').or(path.is_empty().then_some("")) else {
        return Err(format!("template: :1: function {word:?} not defined"));
    };
    for name in path.split('.').filter(|name| !name.is_empty()) {
        match value.get(name) {
            Some(next) => value = next,
            None => return Ok(Value::Null),
        }
    }
    Ok(value.clone())
}

#[cfg(test)]
mod tests {
    use super::render;
    use serde_json::json;

    #[test]
    fn templates_people_use() {
        let value = json!({"info": {"pid": 7}, "status": {"id": "a", "mounts": [{"hostPath": "/x"}, {"hostPath": "/y"}], "labels": {"io.k8s/n": "v"}}});
        for (template, text) in [
            ("{{.info.pid}}", "7"),
            ("{{ .status.id }} {{.nope}}", "a <no value>"),
            (
                "{{range .status.mounts}}{{.hostPath}}{{\"\\n\"}}{{end}}",
                "/x\n/y\n",
            ),
            ("{{range .status.none}}x{{else}}none{{end}}", "none"),
            ("{{if .status.id}}yes{{else}}no{{end}}", "yes"),
            ("{{json .info}}", "{\"pid\":7}"),
            (
                "{{index .status.labels \"io.k8s/n\"}} {{len .status.mounts}}",
                "v 2",
            ),
            ("{{(index .x 1)}}", ""),
        ] {
            let rendered = render(template, &value);
            if text.is_empty() {
                assert!(rendered.is_err(), "{template}");
            } else {
                assert_eq!(rendered.unwrap(), text, "{template}");
            }
        }
        assert!(render("{{range .a}}", &value).is_err());
        assert!(render("{{end}}", &value).is_err());
        assert!(render(&"{{if .info}}".repeat(40), &value).is_err());
    }
}
