//! Editing the text of a static pod's manifest the way a person in an editor does: line by line, so
//! that the rest of the file keeps its form. Expects block style, as kubeadm writes it.

use super::manifest_edit::{
    AddMount, AddVolume, FindWith, Indent, ManifestEdit, Rename, SetMount, SetProbe, SetVolume,
};

mod block;
mod restyle;

use block::{Block, Item, Mapping, word};

/// Applies an edit.
///
/// # Errors
/// When the text has no place for a change: no such flag, text to replace that is not there, a part
/// that is not written in block style.
pub fn edit(text: &str, edit: &ManifestEdit) -> Result<String, String> {
    let mut block = Block::new(text);
    for name in &edit.remove_flags {
        remove_flag(&mut block, name)?;
    }
    for Rename { from, to } in &edit.rename_flags {
        rename_flag(&mut block, from, to)?;
    }
    for flag in &edit.set_flags {
        set_flag(&mut block, flag)?;
    }
    for flag in &edit.add_flags {
        add_flag(&mut block, flag)?;
    }
    if let Some(program) = &edit.command {
        set_program(&mut block, program)?;
    }
    if let Some(image) = &edit.image {
        let container = container(&block)?;
        block.set_key(&container, "image", image);
    }
    for name in &edit.remove_mounts {
        let item = named(&block, &container(&block)?, "volumeMounts", name)?;
        remove_item(&mut block, Where::Mounts, &item)?;
    }
    for name in &edit.remove_volumes {
        let item = named(&block, &spec(&block)?, "volumes", name)?;
        remove_item(&mut block, Where::Volumes, &item)?;
    }
    for volume in &edit.set_volumes {
        set_volume(&mut block, volume)?;
    }
    for mount in &edit.set_mounts {
        set_mount(&mut block, mount)?;
    }
    for volume in &edit.add_volumes {
        let spec = spec(&block)?;
        block.add_item(&spec, "volumes", volume_lines(volume))?;
    }
    for mount in &edit.add_mounts {
        let container = container(&block)?;
        block.add_item(&container, "volumeMounts", mount_lines(mount))?;
    }
    for probe in &edit.probes {
        set_probe(&mut block, probe)?;
    }
    if let Some(annotation) = &edit.annotate {
        annotate(&mut block, annotation)?;
    }
    let text = replaced(block.text(), &edit.replace)?;
    let text = indented(text, &edit.indent)?;
    match edit.restyle {
        Some(style) => restyle::restyle(&text, style),
        None => Ok(text),
    }
}

fn replaced(mut text: String, all: &[FindWith]) -> Result<String, String> {
    for replace in all {
        if !text.contains(&replace.find) {
            return Err(format!("`{}` is not in the manifest", replace.find));
        }
        text = text.replacen(&replace.find, &replace.with, 1);
    }
    Ok(text)
}

fn indented(text: String, all: &[Indent]) -> Result<String, String> {
    if all.is_empty() {
        return Ok(text);
    }
    let mut block = Block::new(&text);
    for Indent { line, by, tab, .. } in all {
        let found = block
            .lines
            .iter_mut()
            .find(|found| found.trim_start().starts_with(line.as_str()))
            .ok_or_else(|| format!("the manifest has no line `{line}`"))?;
        let content = found.trim_start().to_owned();
        let column = found.len() - content.len();
        *found = if *tab {
            format!("\t{content}")
        } else {
            let column = column
                .checked_add_signed(isize::from(*by))
                .ok_or_else(|| format!("`{line}` is indented by {column} only"))?;
            format!("{}{content}", " ".repeat(column))
        };
    }
    Ok(block.text())
}

fn spec(block: &Block) -> Result<Mapping, String> {
    let entry = block
        .entry(&block.top(), "spec")
        .ok_or("the manifest has no `spec`")?;
    block.mapping(&entry, "spec")
}

/// The container of the API server, or the first one.
fn container(block: &Block) -> Result<Mapping, String> {
    let entry = block
        .entry(&spec(block)?, "containers")
        .ok_or("the manifest has no `containers`")?;
    let all: Vec<Mapping> = block
        .items(&entry, "containers")?
        .iter()
        .map(|item| block.item_mapping(item))
        .collect();
    let is_api_server = |mapping: &&Mapping| {
        block
            .entry(mapping, "name")
            .is_some_and(|name| block.value(&name) == "kube-apiserver")
    };
    all.iter()
        .find(is_api_server)
        .or(all.first())
        .cloned()
        .ok_or_else(|| "the manifest has no container".to_owned())
}

/// The words of the command line: those of `command`, then those of `args`.
fn words(block: &Block) -> Result<Vec<(Item, String)>, String> {
    let container = container(block)?;
    let mut words = Vec::new();
    for key in ["command", "args"] {
        if let Some(entry) = block.entry(&container, key) {
            for item in block.items(&entry, key)? {
                let text = block.item_text(&item);
                words.push((item, text));
            }
        }
    }
    if words.is_empty() {
        return Err("the manifest has no `command`".to_owned());
    }
    Ok(words)
}

fn flag_name(word: &str) -> Option<&str> {
    let flag = word.strip_prefix('-')?.trim_start_matches('-');
    Some(flag.split(['=', ' ']).next().unwrap_or(flag))
}

/// The places of a flag among the words; the second number is that of its value, where that is a word
/// of its own.
fn flag_places(words: &[(Item, String)], name: &str) -> Vec<(usize, Option<usize>)> {
    let text = |index: usize| words.get(index).map(|(_, text)| text.as_str());
    (0..words.len())
        .filter(|index| text(*index).and_then(flag_name) == Some(name))
        .map(|index| {
            let alone = text(index).is_some_and(|text| !text.contains('='));
            let value = text(index + 1).is_some_and(|next| alone && !next.starts_with('-'));
            (index, value.then_some(index + 1))
        })
        .collect()
}

fn no_flag(name: &str) -> String {
    format!("the manifest has no flag `--{name}`")
}

fn remove_flag(block: &mut Block, name: &str) -> Result<(), String> {
    let words = words(block)?;
    let places = flag_places(&words, name);
    if places.is_empty() {
        return Err(no_flag(name));
    }
    for (flag, value) in places.into_iter().rev() {
        for index in value.into_iter().chain([flag]) {
            if let Some((item, _)) = words.get(index) {
                block.remove(item.lines.clone());
            }
        }
    }
    Ok(())
}

fn rename_flag(block: &mut Block, from: &str, to: &str) -> Result<(), String> {
    let words = words(block)?;
    let places = flag_places(&words, from);
    if places.is_empty() {
        return Err(no_flag(from));
    }
    for (flag, _) in places {
        if let Some((item, text)) = words.get(flag) {
            block.set_item_text(item, &text.replacen(from, to, 1));
        }
    }
    Ok(())
}

/// kubeadm sorts the flags; a new one goes where it belongs.
fn set_flag(block: &mut Block, flag: &str) -> Result<(), String> {
    let words = words(block)?;
    let name = flag.split('=').next().unwrap_or(flag);
    let text = format!("--{flag}");
    // Of several the last one counts.
    if let Some((place, value)) = flag_places(&words, name).pop() {
        if let Some((item, _)) = value.and_then(|value| words.get(value)) {
            block.remove(item.lines.clone());
        }
        if let Some((item, _)) = words.get(place) {
            block.set_item_text(item, &text);
        }
        return Ok(());
    }
    let before = words
        .iter()
        .position(|(_, word)| flag_name(word).is_some_and(|other| other > name))
        .unwrap_or(words.len());
    insert_flag(block, &words, before, &text);
    Ok(())
}

fn add_flag(block: &mut Block, flag: &str) -> Result<(), String> {
    let words = words(block)?;
    let end = words.len();
    insert_flag(block, &words, end, &format!("--{flag}"));
    Ok(())
}

/// Writes a flag behind the word in front of place `before`, so that comments stay with what they
/// stand above.
fn insert_flag(block: &mut Block, words: &[(Item, String)], before: usize, text: &str) {
    let (at, column) = match before.checked_sub(1).and_then(|index| words.get(index)) {
        Some((item, _)) => (item.lines.end, item.column),
        None => words
            .first()
            .map_or((0, 0), |(item, _)| (item.lines.start, item.column)),
    };
    block.insert(at, [format!("{}- {}", " ".repeat(column), word(text))]);
}

fn set_program(block: &mut Block, program: &str) -> Result<(), String> {
    let container = container(block)?;
    let entry = block
        .entry(&container, "command")
        .ok_or("the manifest has no `command`")?;
    let items = block.items(&entry, "command")?;
    let first = items.first().ok_or("the manifest has no `command`")?;
    block.set_item_text(first, program);
    Ok(())
}

/// The item of a list that has this name.
fn named(block: &Block, mapping: &Mapping, key: &str, name: &str) -> Result<Item, String> {
    let none = || format!("`{key}` of the manifest has no item named `{name}`");
    let entry = block.entry(mapping, key).ok_or_else(none)?;
    block
        .items(&entry, key)?
        .into_iter()
        .find(|item| {
            block
                .entry(&block.item_mapping(item), "name")
                .is_some_and(|found| block.value(&found) == name)
        })
        .ok_or_else(none)
}

#[derive(Clone, Copy)]
enum Where {
    Mounts,
    Volumes,
}

/// Takes an item out of its list; the key of a list that is empty then goes, too.
fn remove_item(block: &mut Block, place: Where, item: &Item) -> Result<(), String> {
    let (mapping, key) = match place {
        Where::Mounts => (container(block)?, "volumeMounts"),
        Where::Volumes => (spec(block)?, "volumes"),
    };
    let last = block
        .entry(&mapping, key)
        .is_some_and(|entry| block.items(&entry, key).is_ok_and(|items| items.len() == 1));
    block.remove(item.lines.clone());
    if last {
        block.remove_key_line(&mapping, key);
    }
    Ok(())
}

fn set_or_remove(block: &mut Block, mapping: &Mapping, key: &str, value: &str) {
    if value.is_empty() {
        block.remove_key(mapping, key);
    } else {
        block.set_key(mapping, key, value);
    }
}

fn set_volume(block: &mut Block, change: &SetVolume) -> Result<(), String> {
    for (key, value) in [("path", &change.path), ("type", &change.kind)] {
        let Some(value) = value else { continue };
        let item = named(block, &spec(block)?, "volumes", &change.name)?;
        let entry = block
            .entry(&block.item_mapping(&item), "hostPath")
            .ok_or_else(|| format!("the volume `{}` is no hostPath", change.name))?;
        let host_path = block.mapping(&entry, "hostPath")?;
        set_or_remove(block, &host_path, key, value);
    }
    if let Some(name) = &change.rename {
        let item = named(block, &spec(block)?, "volumes", &change.name)?;
        let mapping = block.item_mapping(&item);
        block.set_key(&mapping, "name", name);
    }
    Ok(())
}

fn set_mount(block: &mut Block, change: &SetMount) -> Result<(), String> {
    let read_only = change.read_only.map(|on| on.to_string());
    for (key, value) in [
        ("mountPath", &change.path),
        ("readOnly", &read_only),
        ("subPath", &change.sub_path),
        ("name", &change.rename),
    ] {
        let Some(value) = value else { continue };
        let item = named(block, &container(block)?, "volumeMounts", &change.name)?;
        let mapping = block.item_mapping(&item);
        set_or_remove(block, &mapping, key, value);
    }
    Ok(())
}

fn set_probe(block: &mut Block, change: &SetProbe) -> Result<(), String> {
    let field = change.probe.field();
    let none = || format!("the container has no `{field}`");
    if change.remove {
        let container = container(block)?;
        return block
            .remove_key(&container, field)
            .then_some(())
            .ok_or_else(none);
    }
    let threshold = change.failure_threshold.map(|number| number.to_string());
    for (key, value, inner) in [
        ("port", &change.port, true),
        ("path", &change.path, true),
        ("host", &change.host, true),
        ("scheme", &change.scheme, true),
        ("failureThreshold", &threshold, false),
    ] {
        let Some(value) = value else { continue };
        let entry = block.entry(&container(block)?, field).ok_or_else(none)?;
        let mut mapping = block.mapping(&entry, field)?;
        if inner {
            let entry = block
                .entry(&mapping, "httpGet")
                .ok_or_else(|| format!("`{field}` is no HTTP probe"))?;
            mapping = block.mapping(&entry, "httpGet")?;
        }
        block.set_key(&mapping, key, value);
    }
    Ok(())
}

fn volume_lines(volume: &AddVolume) -> Vec<String> {
    let mut lines = vec![
        "- hostPath:".to_owned(),
        format!("    path: {}", word(&volume.path)),
    ];
    if let Some(kind) = &volume.kind {
        lines.push(format!("    type: {}", word(kind)));
    }
    lines.push(format!("  name: {}", word(&volume.name)));
    lines
}

fn mount_lines(mount: &AddMount) -> Vec<String> {
    let mut lines = vec![
        format!("- mountPath: {}", word(&mount.path)),
        format!("  name: {}", word(&mount.name)),
    ];
    if mount.read_only {
        lines.push("  readOnly: true".to_owned());
    }
    if let Some(path) = &mount.sub_path {
        lines.push(format!("  subPath: {}", word(path)));
    }
    lines
}

fn annotate(block: &mut Block, annotation: &str) -> Result<(), String> {
    let (key, value) = annotation
        .split_once('=')
        .ok_or("an annotation is written `key=value`")?;
    let quoted = serde_json::Value::from(value).to_string();
    let entry = block
        .entry(&block.top(), "metadata")
        .ok_or("the manifest has no `metadata`")?;
    let metadata = block.mapping(&entry, "metadata")?;
    match block.entry(&metadata, "annotations") {
        Some(entry) => {
            let annotations = block.mapping(&entry, "annotations")?;
            match block.entry(&annotations, key) {
                Some(entry) => block.set_value(&entry, value),
                None => block.add_line(&annotations, format!("{}: {quoted}", word(key))),
            }
        }
        None => {
            block.add_line(&metadata, "annotations:".to_owned());
            block.add_line(&metadata, format!("  {}: {quoted}", word(key)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    use crate::scenario::manifest_edit::Restyle;

    const BASELINE: &str = include_str!("../../../fixtures/golden/static-pod/baseline.yaml");

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
