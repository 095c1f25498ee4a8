//! Editing the text of the API server's manifest the way a person in an editor does: line by line,
//! so that the rest of the file keeps its form. Expects the block style that kubeadm writes.

use serde_json::Value;

use super::definition::{AddMount, AddVolume, ManifestEdit, Restyle};

/// Applies an edit.
///
/// # Errors
/// When the text has no place for a change: no `volumes:` line, text to replace that is not there.
pub fn edit(text: &str, edit: &ManifestEdit) -> Result<String, String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for name in &edit.remove_flags {
        remove_flag(&mut lines, name)?;
    }
    for flag in &edit.set_flags {
        set_flag(&mut lines, flag)?;
    }
    for name in &edit.remove_mounts {
        remove_item(&mut lines, "volumeMounts:", name)?;
    }
    for name in &edit.remove_volumes {
        remove_item(&mut lines, "volumes:", name)?;
    }
    for volume in &edit.add_volumes {
        add_item(&mut lines, "volumes:", &volume_lines(volume))?;
    }
    for mount in &edit.add_mounts {
        add_item(&mut lines, "volumeMounts:", &mount_lines(mount))?;
    }
    if let Some(annotation) = &edit.annotate {
        annotate(&mut lines, annotation)?;
    }
    let mut text = lines.join("\n");
    text.push('\n');
    for replace in &edit.replace {
        if !text.contains(&replace.find) {
            return Err(format!("`{}` is not in the manifest", replace.find));
        }
        text = text.replacen(&replace.find, &replace.with, 1);
    }
    match edit.restyle {
        Some(style) => restyle(&text, style),
        None => Ok(text),
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The lines of the flags: from the one after `- kube-apiserver`, as long as they are list items.
fn flags(lines: &[String]) -> Result<(std::ops::Range<usize>, usize), String> {
    let start = lines
        .iter()
        .position(|line| line.trim() == "- kube-apiserver")
        .ok_or("the manifest has no line `- kube-apiserver`")?;
    let column = lines.get(start).map_or(0, |line| indent(line));
    let count = lines
        .iter()
        .skip(start + 1)
        .take_while(|line| indent(line) >= column && line.trim_start().starts_with("- -"))
        .count();
    Ok((start + 1..start + 1 + count, column))
}

fn flag_name(line: &str) -> &str {
    let flag = line.trim().trim_start_matches("- ").trim_start_matches('-');
    flag.split(['=', ' ']).next().unwrap_or(flag)
}

fn remove_flag(lines: &mut Vec<String>, name: &str) -> Result<(), String> {
    let (range, _) = flags(lines)?;
    let found: Vec<usize> = range
        .filter(|&index| lines.get(index).is_some_and(|line| flag_name(line) == name))
        .collect();
    if found.is_empty() {
        return Err(format!("the manifest has no flag `--{name}`"));
    }
    for index in found.into_iter().rev() {
        lines.remove(index);
    }
    Ok(())
}

/// kubeadm sorts the flags; a new one goes where it belongs.
fn set_flag(lines: &mut Vec<String>, flag: &str) -> Result<(), String> {
    let (range, column) = flags(lines)?;
    let name = flag_name(flag);
    let line = format!("{}- --{flag}", " ".repeat(column));
    let old = range
        .clone()
        .find(|&index| lines.get(index).is_some_and(|line| flag_name(line) == name));
    if let Some(old) = old.and_then(|index| lines.get_mut(index)) {
        *old = line;
        return Ok(());
    }
    let place = range
        .clone()
        .find(|&index| lines.get(index).is_some_and(|line| flag_name(line) > name))
        .unwrap_or(range.end);
    lines.insert(place, line);
    Ok(())
}

/// Where a list's items start and end, and their column.
fn section(lines: &[String], header: &str) -> Result<(std::ops::Range<usize>, usize), String> {
    let start = lines
        .iter()
        .position(|line| line.trim() == header)
        .ok_or_else(|| format!("the manifest has no line `{header}`"))?;
    let column = lines.get(start).map_or(0, |line| indent(line));
    let count = lines
        .iter()
        .skip(start + 1)
        .take_while(|line| {
            indent(line) > column || (indent(line) == column && line.trim_start().starts_with("- "))
        })
        .count();
    let items = lines.get(start + 1).map_or(column, |line| indent(line));
    Ok((start + 1..start + 1 + count, items))
}

fn add_item(lines: &mut Vec<String>, header: &str, item: &[String]) -> Result<(), String> {
    let (range, column) = section(lines, header)?;
    for (offset, line) in item.iter().enumerate() {
        lines.insert(range.end + offset, format!("{}{line}", " ".repeat(column)));
    }
    Ok(())
}

fn remove_item(lines: &mut Vec<String>, header: &str, name: &str) -> Result<(), String> {
    let (range, column) = section(lines, header)?;
    let starts: Vec<usize> = range
        .clone()
        .filter(|&index| {
            lines
                .get(index)
                .is_some_and(|line| indent(line) == column && line.trim_start().starts_with("- "))
        })
        .collect();
    for (position, &start) in starts.iter().enumerate() {
        let end = starts.get(position + 1).copied().unwrap_or(range.end);
        let named = lines
            .get(start..end)
            .unwrap_or_default()
            .iter()
            .any(|line| line.trim().trim_start_matches("- ") == format!("name: {name}"));
        if named {
            lines.drain(start..end);
            return Ok(());
        }
    }
    Err(format!("`{header}` has no item named `{name}`"))
}

fn volume_lines(volume: &AddVolume) -> Vec<String> {
    let mut lines = vec![
        "- hostPath:".to_owned(),
        format!("    path: {}", volume.path),
    ];
    if let Some(kind) = &volume.kind {
        lines.push(format!("    type: {kind}"));
    }
    lines.push(format!("  name: {}", volume.name));
    lines
}

fn mount_lines(mount: &AddMount) -> Vec<String> {
    let mut lines = vec![
        format!("- mountPath: {}", mount.path),
        format!("  name: {}", mount.name),
    ];
    if mount.read_only {
        lines.push("  readOnly: true".to_owned());
    }
    if let Some(path) = &mount.sub_path {
        lines.push(format!("  subPath: {path}"));
    }
    lines
}

fn annotate(lines: &mut Vec<String>, annotation: &str) -> Result<(), String> {
    let (key, value) = annotation
        .split_once('=')
        .ok_or("an annotation is written `key=value`")?;
    let start = lines
        .iter()
        .position(|line| line.trim() == "annotations:")
        .ok_or("the manifest has no line `annotations:`")?;
    let column = lines.get(start).map_or(0, |line| indent(line)) + 2;
    lines.insert(
        start + 1,
        format!("{}{key}: \"{value}\"", " ".repeat(column)),
    );
    Ok(())
}

fn restyle(text: &str, style: Restyle) -> Result<String, String> {
    let mut value: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    match style {
        Restyle::Json => {
            let mut text =
                serde_json::to_string_pretty(&value).map_err(|error| error.to_string())?;
            text.push('\n');
            Ok(text)
        }
        Restyle::Quoted => {
            value.sort_all_objects();
            let mut out = String::new();
            write_quoted(&value, 0, &mut out);
            Ok(out)
        }
    }
}

/// Block style with indented lists and every text in double quotes.
fn write_quoted(value: &Value, column: usize, out: &mut String) {
    let pad = " ".repeat(column);
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                out.push_str(&format!("{pad}\"{key}\":"));
                write_inner(field, column, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                out.push_str(&format!("{pad}-"));
                write_inner(item, column, out);
            }
        }
        scalar => out.push_str(&format!("{pad}{scalar}\n")),
    }
}

fn write_inner(value: &Value, column: usize, out: &mut String) {
    let empty = match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    };
    if empty {
        out.push_str(&format!(" {value}\n"));
    } else {
        out.push('\n');
        write_quoted(value, column + 4, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::definition::FindWith;

    const BASELINE: &str = include_str!("../../fixtures/golden/static-pod/baseline.yaml");

    fn parsed(text: &str) -> Value {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn adds_and_takes_out_the_same() {
        let added = edit(
            BASELINE,
            &ManifestEdit {
                set_flags: vec!["audit-log-path=/var/log/a.log".into(), "zz=1".into()],
                add_volumes: vec![AddVolume {
                    name: "audit".into(),
                    path: "/etc/audit".into(),
                    kind: Some("Directory".into()),
                }],
                add_mounts: vec![AddMount {
                    name: "audit".into(),
                    path: "/etc/audit".into(),
                    read_only: true,
                    sub_path: None,
                }],
                annotate: Some("touched=yes".into()),
                ..ManifestEdit::default()
            },
        )
        .unwrap();
        let value = parsed(&added);
        let container = &value["spec"]["containers"][0];
        let command = container["command"].as_array().unwrap();
        assert_eq!(command[3], "--audit-log-path=/var/log/a.log");
        assert_eq!(command.last().unwrap(), "--zz=1");
        assert_eq!(
            container["volumeMounts"]
                .as_array()
                .unwrap()
                .last()
                .unwrap(),
            &serde_json::json!({"mountPath": "/etc/audit", "name": "audit", "readOnly": true})
        );
        assert_eq!(
            value["spec"]["volumes"].as_array().unwrap().last().unwrap(),
            &serde_json::json!({"hostPath": {"path": "/etc/audit", "type": "Directory"}, "name": "audit"})
        );
        let removed = edit(
            &added,
            &ManifestEdit {
                remove_flags: vec!["audit-log-path".into(), "zz".into()],
                remove_mounts: vec!["audit".into()],
                remove_volumes: vec!["audit".into()],
                replace: vec![FindWith {
                    when: None,
                    find: "    touched: \"yes\"\n".into(),
                    with: String::new(),
                }],
                ..ManifestEdit::default()
            },
        )
        .unwrap();
        assert_eq!(removed, BASELINE);
    }

    #[test]
    fn another_style_is_the_same_manifest() {
        for style in [Restyle::Json, Restyle::Quoted] {
            let text = edit(
                BASELINE,
                &ManifestEdit {
                    restyle: Some(style),
                    ..ManifestEdit::default()
                },
            )
            .unwrap();
            assert_ne!(text, BASELINE);
            assert_eq!(parsed(&text), parsed(BASELINE));
        }
    }

    #[test]
    fn says_what_is_not_there() {
        let missing = ManifestEdit {
            remove_flags: vec!["audit-log-path".into()],
            ..ManifestEdit::default()
        };
        assert_eq!(
            edit(BASELINE, &missing).unwrap_err(),
            "the manifest has no flag `--audit-log-path`"
        );
    }
}
