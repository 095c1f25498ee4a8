//! The words with which scenarios change a node: exact, in the form of the file, and never outside
//! the node.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ckslab::scenario::manifest_edit::{
    AddMount, AddVolume, Indent, ManifestEdit, ProbeKind, Rename, SetMount, SetProbe, SetVolume,
};
use ckslab::scenario::{Scenario, manifest_text};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::builder::Test;

/// Names that flags, volumes and the like of made-up manifests have.
const NAMES: [&str; 6] = ["audit", "b-2", "certs", "k8s.d", "true", "zeta"];

/// A word of a command line: `--name=value`, or name and value apart.
#[derive(Debug, Clone)]
struct Flag {
    name: usize,
    value: String,
    apart: bool,
    quote: usize,
    comment: bool,
}

/// A manifest in one of the ways in which people write them in block style.
#[derive(Debug, Clone)]
struct Manifest {
    flags: Vec<Flag>,
    in_args: bool,
    indented_lists: bool,
    volumes: Vec<(usize, bool)>,
    quote: usize,
    probe: bool,
    annotations: bool,
}

fn quoted(text: &str, quote: usize) -> String {
    match quote {
        1 => format!("\"{text}\""),
        2 => format!("'{text}'"),
        _ => text.to_owned(),
    }
}

impl Manifest {
    fn text(&self) -> String {
        let list = if self.indented_lists { "  " } else { "" };
        let quote = self.quote;
        let mut out = "# Written by hand.\napiVersion: v1\nkind: Pod\nmetadata:\n".to_owned();
        if self.annotations {
            out.push_str("  annotations:\n    example.com/a: \"1\" # one\n");
        }
        out.push_str("  name: kube-apiserver\n\nspec:\n  # The only one.\n  containers:\n");
        let item = format!("{list}    ");
        out.push_str(&format!(
            "  {list}- command:\n{item}{list}- kube-apiserver\n"
        ));
        if self.in_args && !self.flags.is_empty() {
            out.push_str(&format!("{item}args:\n"));
        }
        for flag in &self.flags {
            let name = NAMES[flag.name];
            if flag.comment {
                out.push_str("# about the next line\n");
            }
            let words = match flag.apart {
                true => vec![format!("--{name}"), flag.value.clone()],
                false => vec![format!("--{name}={}", flag.value)],
            };
            for word in words {
                let tail = if flag.comment { "   # why" } else { "" };
                let word = quoted(&word, flag.quote);
                out.push_str(&format!("{item}{list}- {word}{tail}\n"));
            }
        }
        out.push_str(&format!(
            "{item}image: {} # pinned\n{item}name: kube-apiserver\n",
            quoted("registry.k8s.io/kube-apiserver:v1.36.2", quote)
        ));
        if self.probe {
            out.push_str(&format!(
                "{item}livenessProbe:\n{item}  failureThreshold: 8\n{item}  httpGet:\n\
                 {item}    path: /livez\n{item}    port: 6443\n{item}    scheme: HTTPS\n"
            ));
        }
        if !self.volumes.is_empty() {
            out.push_str(&format!("{item}volumeMounts:\n"));
            for (name, read_only) in &self.volumes {
                let name = NAMES[*name];
                out.push_str(&format!(
                    "# mount\n{item}{list}- mountPath: {}\n{item}{list}  name: {}\n",
                    quoted(&format!("/in/{name}"), quote),
                    quoted(name, quote.max(1))
                ));
                if *read_only {
                    out.push_str(&format!("{item}{list}  readOnly: true\n"));
                }
            }
        }
        out.push_str("  hostNetwork: true\n");
        if !self.volumes.is_empty() {
            out.push_str("  volumes:\n");
            for (name, typed) in &self.volumes {
                let name = NAMES[*name];
                out.push_str(&format!(
                    "# volume\n  {list}- name: {}\n  {list}  hostPath:\n  {list}    path: /host/{name}\n",
                    quoted(name, quote.max(1))
                ));
                if *typed {
                    out.push_str(&format!("  {list}    type: Directory\n"));
                }
            }
        }
        out.push_str("status: {}\n# The end.\n");
        out
    }
}

fn manifests() -> impl Strategy<Value = Manifest> {
    let flag = (
        0..NAMES.len(),
        "[a-z/:=]{1,8}[a-z]",
        any::<bool>(),
        0..3_usize,
        any::<bool>(),
    )
        .prop_map(|(name, value, apart, quote, comment)| Flag {
            name,
            value,
            apart,
            quote,
            comment,
        });
    let volumes = prop::collection::btree_map(0..NAMES.len(), any::<bool>(), 0..4);
    (
        prop::collection::vec(flag, 0..6),
        any::<bool>(),
        any::<bool>(),
        volumes,
        0..3_usize,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(flags, in_args, indented_lists, volumes, quote, probe, annotations)| Manifest {
                flags,
                in_args,
                indented_lists,
                volumes: volumes.into_iter().collect(),
                quote,
                probe,
                annotations,
            },
        )
}

/// One change each.
fn edits() -> impl Strategy<Value = ManifestEdit> {
    let name = || prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned);
    let path = || "/[a-z]{1,6}( [a-z]|: [a-z]| #[a-z])?";
    let edit = ManifestEdit::default;
    prop_oneof![
        name().prop_map(move |name| ManifestEdit {
            remove_flags: vec![name],
            ..edit()
        }),
        name().prop_map(move |from| ManifestEdit {
            rename_flags: vec![Rename {
                from,
                to: "other-name".to_owned()
            }],
            ..edit()
        }),
        (name(), path()).prop_map(move |(name, value)| ManifestEdit {
            set_flags: vec![format!("{name}={value}")],
            ..edit()
        }),
        (name(), path()).prop_map(move |(name, value)| ManifestEdit {
            add_flags: vec![format!("{name}={value}")],
            ..edit()
        }),
        path().prop_map(move |program| ManifestEdit {
            command: Some(program),
            ..edit()
        }),
        path().prop_map(move |image| ManifestEdit {
            image: Some(image),
            ..edit()
        }),
        name().prop_map(move |name| ManifestEdit {
            remove_mounts: vec![name],
            ..edit()
        }),
        name().prop_map(move |name| ManifestEdit {
            remove_volumes: vec![name],
            ..edit()
        }),
        (name(), path(), any::<bool>(), any::<bool>()).prop_map(
            move |(name, path, typed, renamed)| ManifestEdit {
                set_volumes: vec![SetVolume {
                    name,
                    path: Some(path),
                    kind: Some(if typed { "File" } else { "" }.to_owned()),
                    rename: renamed.then(|| "123".to_owned()),
                }],
                ..edit()
            }
        ),
        (name(), path(), any::<bool>(), any::<bool>()).prop_map(
            move |(name, path, read_only, sub)| ManifestEdit {
                set_mounts: vec![SetMount {
                    name,
                    path: Some(path),
                    read_only: Some(read_only),
                    sub_path: Some(if sub { "yes" } else { "" }.to_owned()),
                    rename: Some("nope".to_owned()),
                }],
                ..edit()
            }
        ),
        (name(), path(), any::<bool>()).prop_map(move |(name, path, typed)| ManifestEdit {
            add_volumes: vec![AddVolume {
                name,
                path,
                kind: typed.then(|| "Directory".to_owned()),
            }],
            ..edit()
        }),
        (name(), path(), any::<bool>()).prop_map(move |(name, path, read_only)| ManifestEdit {
            add_mounts: vec![AddMount {
                name,
                path,
                read_only,
                sub_path: None,
            }],
            ..edit()
        }),
        any::<bool>().prop_map(move |remove| ManifestEdit {
            probes: vec![SetProbe {
                probe: ProbeKind::Liveness,
                remove,
                port: Some("6444".to_owned()),
                path: Some("/nowhere".to_owned()),
                host: Some("10.0.0.1".to_owned()),
                scheme: None,
                failure_threshold: Some(1),
            }],
            ..edit()
        }),
        path().prop_map(move |value| ManifestEdit {
            annotate: Some(format!("example.com/b={value}")),
            ..edit()
        }),
    ]
}

/// The same change, on the values instead of the lines; none where there is nothing to change.
fn changed(before: &Value, edit: &ManifestEdit) -> Option<Value> {
    let mut pod = before.clone();
    let container = |pod: &mut Value| pod["spec"]["containers"][0].take();
    let mut c = container(&mut pod);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let set = |target: &mut Value, key: &str, value: Value| {
        let object = target.as_object_mut().unwrap();
        let empty = value == json!("") || value == json!([]);
        if empty {
            object.remove(key);
        } else {
            object.insert(key.to_owned(), value);
        }
    };
    // Flags: words with the list they are in.
    let mut words: Vec<(&str, String)> = Vec::new();
    for key in ["command", "args"] {
        for word in list(&c[key]) {
            words.push((key, word.as_str().unwrap().to_owned()));
        }
    }
    let name_of = |word: &str| {
        let flag = word.strip_prefix("--")?;
        Some(flag.split('=').next().unwrap().to_owned())
    };
    let apart = |words: &[(&str, String)], at: usize| {
        !words[at].1.contains('=') && words.get(at + 1).is_some_and(|w| !w.1.starts_with('-'))
    };
    let places = |words: &[(&str, String)], name: &str| {
        let found = (0..words.len()).filter(|at| name_of(&words[*at].1).as_deref() == Some(name));
        found.collect::<Vec<_>>()
    };
    for name in &edit.remove_flags {
        let found = places(&words, name);
        if found.is_empty() {
            return None;
        }
        for at in found.into_iter().rev() {
            let count = 1 + usize::from(apart(&words, at));
            words.drain(at..at + count);
        }
    }
    for rename in &edit.rename_flags {
        let found = places(&words, &rename.from);
        if found.is_empty() {
            return None;
        }
        for at in found {
            words[at].1 = words[at].1.replacen(&rename.from, &rename.to, 1);
        }
    }
    for flag in &edit.set_flags {
        let name = flag.split('=').next().unwrap();
        if let Some(at) = places(&words, name).pop() {
            if apart(&words, at) {
                words.remove(at + 1);
            }
            words[at].1 = format!("--{flag}");
        } else {
            let larger =
                |(_, word): &(&str, String)| name_of(word).is_some_and(|n| n.as_str() > name);
            let at = words.iter().position(larger).unwrap_or(words.len());
            let list = words[at - 1].0;
            words.insert(at, (list, format!("--{flag}")));
        }
    }
    for flag in &edit.add_flags {
        let list = words.last().unwrap().0;
        words.push((list, format!("--{flag}")));
    }
    if let Some(program) = &edit.command {
        words[0].1.clone_from(program);
    }
    for key in ["command", "args"] {
        let all: Vec<Value> = words
            .iter()
            .filter(|(list, _)| *list == key)
            .map(|(_, word)| json!(word))
            .collect();
        if c.get(key).is_some() {
            // An empty list stays a key without a value.
            let value = if all.is_empty() {
                Value::Null
            } else {
                json!(all)
            };
            c[key] = value;
        }
    }
    if let Some(image) = &edit.image {
        c["image"] = json!(image);
    }
    let mut mounts = list(&c["volumeMounts"]);
    let mut volumes = list(&pod["spec"]["volumes"]);
    let find = |list: &[Value], name: &str| list.iter().position(|item| item["name"] == name);
    for name in &edit.remove_mounts {
        mounts.remove(find(&mounts, name)?);
    }
    for name in &edit.remove_volumes {
        volumes.remove(find(&volumes, name)?);
    }
    for change in &edit.set_volumes {
        let at = find(&volumes, &change.name)?;
        set(&mut volumes[at]["hostPath"], "path", json!(change.path));
        set(&mut volumes[at]["hostPath"], "type", json!(change.kind));
        if let Some(name) = &change.rename {
            volumes[at]["name"] = json!(name);
        }
    }
    for change in &edit.set_mounts {
        let at = find(&mounts, &change.name)?;
        set(&mut mounts[at], "mountPath", json!(change.path));
        set(&mut mounts[at], "readOnly", json!(change.read_only));
        set(&mut mounts[at], "subPath", json!(change.sub_path));
        set(&mut mounts[at], "name", json!(change.rename));
    }
    for volume in &edit.add_volumes {
        let mut value = json!({"name": volume.name, "hostPath": {"path": volume.path}});
        if let Some(kind) = &volume.kind {
            value["hostPath"]["type"] = json!(kind);
        }
        volumes.push(value);
    }
    for mount in &edit.add_mounts {
        let mut value = json!({"name": mount.name, "mountPath": mount.path});
        if mount.read_only {
            value["readOnly"] = json!(true);
        }
        mounts.push(value);
    }
    for change in &edit.probes {
        let probe = c.get_mut("livenessProbe")?;
        probe["httpGet"]["port"] = json!(6444);
        probe["httpGet"]["path"] = json!(change.path);
        probe["httpGet"]["host"] = json!(change.host);
        probe["failureThreshold"] = json!(change.failure_threshold);
        if change.remove {
            c.as_object_mut().unwrap().remove("livenessProbe");
        }
    }
    if let Some((key, value)) = edit.annotate.as_ref().and_then(|a| a.split_once('=')) {
        pod["metadata"]["annotations"][key] = json!(value);
    }
    set(&mut c, "volumeMounts", json!(mounts));
    set(&mut pod["spec"], "volumes", json!(volumes));
    pod["spec"]["containers"][0] = c;
    Some(pod)
}

fn parsed(text: &str) -> Value {
    let document = ckslab::yaml::to_json(text.as_bytes());
    document.unwrap_or_else(|e| panic!("{e}\n{text}")).value
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_makes_exactly_the_named_difference(manifest in manifests(), edit in edits()) {
        let before = manifest.text();
        let expected = changed(&parsed(&before), &edit);
        let after = manifest_text::edit(&before, &edit);
        prop_assert_eq!(after.is_ok(), expected.is_some(), "{:?}\n{}", after, before);
        let (Ok(after), Some(expected)) = (after, expected) else { return Ok(()) };
        prop_assert_eq!(parsed(&after), expected, "{}\n---\n{}", before, after);
        // Whatever is not named keeps its form.
        let comments = |text: &str| -> Vec<String> {
            text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect()
        };
        prop_assert_eq!(comments(&before), comments(&after));
        let mut left: BTreeMap<&str, usize> = BTreeMap::new();
        for line in after.lines() {
            *left.entry(line).or_default() += 1;
        }
        let gone: Vec<&str> = before
            .lines()
            .filter(|line| left.get_mut(line).is_none_or(|n| n.checked_sub(1).map(|less| *n = less).is_none()))
            .collect();
        let flags = 2 * manifest.flags.len();
        prop_assert!(gone.len() <= flags.max(8), "{gone:?}");
    }

    /// Whatever the text is, an edit of it ends, without a panic.
    #[test]
    fn an_edit_of_any_text_ends(text in "([ \\-a-z:\"'#]{0,12}\n){0,12}", edit in edits()) {
        let _ = manifest_text::edit(&text, &edit);
    }
}

#[test]
fn lines_are_indented_by_hand() {
    let edit = |indent: Indent| {
        manifest_text::edit(
            "spec:\n  containers:\n  - name: a\n",
            &ManifestEdit {
                indent: vec![indent],
                ..ManifestEdit::default()
            },
        )
    };
    let line = |line: &str, by: i8, tab: bool| Indent {
        when: None,
        line: line.to_owned(),
        by,
        tab,
    };
    assert_eq!(
        edit(line("containers:", 1, false)).unwrap(),
        "spec:\n   containers:\n  - name: a\n"
    );
    assert_eq!(
        edit(line("- name", -2, false)).unwrap(),
        "spec:\n  containers:\n- name: a\n"
    );
    assert_eq!(
        edit(line("- name", 0, true)).unwrap(),
        "spec:\n  containers:\n\t- name: a\n"
    );
    assert_eq!(
        edit(line("containers:", -3, false)).unwrap_err(),
        "`containers:` is indented by 2 only"
    );
    assert_eq!(
        edit(line("volumes:", 1, false)).unwrap_err(),
        "the manifest has no line `volumes:`"
    );
}

#[test]
fn what_is_not_in_block_style_is_said() {
    let edit = ManifestEdit {
        set_flags: vec!["a=b".to_owned()],
        ..ManifestEdit::default()
    };
    for (text, error) in [
        (
            "spec: {containers: []}\n",
            "`spec` of the manifest is not written in block style",
        ),
        (
            "spec:\n  containers:\n  - command: [kube-apiserver]\n",
            "`command` of the manifest is not written in block style",
        ),
        ("kind: Pod\n", "the manifest has no `spec`"),
        (
            "spec:\n  containers:\n  - name: a\n",
            "the manifest has no `command`",
        ),
    ] {
        assert_eq!(manifest_text::edit(text, &edit).unwrap_err(), error);
    }
}

/// A scenario of these steps, without anything to grade.
fn scenario(dir: &Path, id: &str, setup: &str) {
    let folder = dir.join(id);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("task.md"), "# Look around\n").unwrap();
    fs::write(
        folder.join("scenario.yaml"),
        format!(
            "format: 1\nid: {id}\ntitle: A made-up one\ndifficulty: easy\nminutes: 1\npoints: 0\nsetup:\n{setup}"
        ),
    )
    .unwrap();
}

fn start(test: &Test, id: &str) -> crate::builder::Outcome {
    let work = test.work();
    let dir = work.to_str().unwrap();
    test.run(["start", id, "--engine", "embedded", "--scenarios", dir])
}

/// Every file below a directory, with its content.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path));
        } else {
            let content = fs::read(&path).unwrap_or_default();
            found.insert(path.display().to_string(), content);
        }
    }
    found
}

#[test]
fn a_foreign_scenario_cannot_reach_outside_the_node() {
    let test = Test::new();
    let work = test.work();
    fs::write(work.join("mine"), "private").unwrap();
    let up = "/..".repeat(40);
    let mine = work.join("mine").display().to_string();
    scenario(
        &work,
        "evil",
        &format!(
            r#"
  - write: {{path: "{up}{mine}", content: gone}}
  - symlink: {{path: /root/out, target: "{mine}"}}
  - append: {{path: /root/out, content: more}}
  - symlink: {{path: /root/up, target: "../../../../../../../../../..{mine}"}}
  - chmod: {{path: /root/up, mode: "0777"}}
  - symlink: {{path: /root/dir, target: "{work}"}}
  - write: {{path: /root/dir/new, content: text}}
  - rename: {{from: /root/dir/new, to: "/root/dir/../renamed"}}
  - remove: {{path: "{up}{mine}"}}
  - mkdir: {{path: "{up}{work}/made"}}
"#,
            work = work.display()
        ),
    );
    let before = files(&work);
    // What it names leads to paths of the node, or is refused.
    let outcome = start(&test, "evil");
    assert!([0, 4].contains(&outcome.code), "{outcome:?}");
    assert_eq!(files(&work), before);
    // Parts of it that are refused on their own.
    for (step, said) in [
        (
            "{write: {path: etc/x, content: a}}",
            "`etc/x` is no path from the root of the node",
        ),
        (
            "{chmod: {path: /etc, mode: \"99999\"}}",
            "`99999` is no octal file mode",
        ),
        (
            "{copy: {from: /dev/zero, to: /x}}",
            "`/dev/zero` is not there",
        ),
        ("{copy: {from: /etc, to: /x}}", "`/etc` is no regular file"),
        (
            "{objects: [{apiVersion: v1, kind: Sercet, metadata: {name: a}}]}",
            "`Sercet` of `v1` is no kind of this API server",
        ),
    ] {
        scenario(&work, "evil-2", &format!("  - {step}\n"));
        let outcome = start(&test, "evil-2");
        assert_ne!(outcome.code, 0, "{step}");
        assert!(outcome.stderr.contains(said), "{step}: {}", outcome.stderr);
        assert!(!test.lab("evil-2").exists(), "nothing half made is left");
    }
}

#[test]
fn a_setup_can_have_a_past() {
    let test = Test::new();
    let work = test.work();
    scenario(
        &work,
        "past",
        r#"
  - objects:
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: default}, data: {a: "1", b: "2"}}
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: old, namespace: default}}
  - patch_objects:
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: default}, data: {b: null, c: "3"}}
  - delete_objects:
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: old, namespace: default}}
  - write:
      path: /etc/kubernetes/audit/policy.yaml
      content: |
        apiVersion: audit.k8s.io/v1
        kind: Policy
        omitStages: [RequestReceived]
        rules:
        - level: Metadata
          users: [jane]
  - manifest:
      set_flags:
        - audit-policy-file=/etc/kubernetes/audit/policy.yaml
        - audit-log-path=/var/log/kubernetes/audit/audit.log
      add_volumes:
        - {name: audit, path: /etc/kubernetes/audit, type: Directory}
        - {name: audit-log, path: /var/log/kubernetes/audit, type: DirectoryOrCreate}
      add_mounts:
        - {name: audit, path: /etc/kubernetes/audit, read_only: true}
        - {name: audit-log, path: /var/log/kubernetes/audit}
  - wait: ready
  - requests:
      as: {name: jane, groups: [developers]}
      send:
        - {verb: list, resource: secrets, namespace: kube-system}
        - {verb: get, path: /version}
  - kubelet: stop
  - manifest:
      rename_flags: [{from: audit-policy-file, to: audit-polcy-file}]
"#,
    );
    start(&test, "past").ok();
    let status = |test: &Test| test.run(["status", "-o", "json"]).ok().json();
    // The kubelet does not see the edit: the old process goes on.
    let seen = status(&test);
    assert_eq!(seen["apiserver"]["ready"], true);
    let has = |flag: &str| {
        let argv = seen["apiserver"]["argv"].as_array().unwrap();
        argv.iter()
            .any(|word| word.as_str().unwrap().starts_with(flag))
    };
    assert_eq!(
        (has("--audit-policy-file"), has("--audit-polcy-file")),
        (true, false)
    );
    let manifest = test.node("past", "/etc/kubernetes/manifests/kube-apiserver.yaml");
    assert!(
        fs::read_to_string(&manifest)
            .unwrap()
            .contains("--audit-polcy-file=")
    );
    let entries: Vec<Value> =
        fs::read_to_string(test.node("past", "/var/log/kubernetes/audit/audit.log"))
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
    let told: Vec<String> = entries
        .iter()
        .map(|e| {
            format!(
                "{} {} {} {}",
                e["user"]["username"].as_str().unwrap(),
                e["requestURI"].as_str().unwrap(),
                e["responseStatus"]["code"],
                e["userAgent"].as_str().unwrap()
            )
        })
        .collect();
    let agent = "kubectl/v1.36.2 (linux/amd64) kubernetes/0000000";
    assert_eq!(
        told,
        [
            format!("jane /api/v1/namespaces/kube-system/secrets 403 {agent}"),
            format!("jane /version 200 {agent}"),
        ]
    );
    if let Some(seen) = test.kubectl(&["get", "cm", "-n", "default", "-o", "json"]) {
        let seen = seen.ok().json();
        let items = seen["items"].as_array().unwrap();
        let data: Vec<(&Value, &Value)> = items
            .iter()
            .map(|item| (&item["metadata"]["name"], &item["data"]))
            .filter(|(name, _)| *name != "kube-root-ca.crt")
            .collect();
        assert_eq!(data, [(&json!("settings"), &json!({"a": "1", "c": "3"}))]);
    }
    // A reset lives the same past again.
    test.run(["reset"]).ok();
    assert_eq!(status(&test)["apiserver"]["ready"], true);
}

#[test]
fn an_interrupted_setup_is_no_lab_and_is_made_anew() {
    let test = Test::new();
    let work = test.work();
    let setup = "  - wait: ready\n  - write: {path: /root/done, content: yes}\n";
    scenario(&work, "late", setup);
    start(&test, "late").ok();
    // As a killed command leaves it: the node runs, the setup was not played to its end.
    fs::remove_file(test.node("late", "/root/done")).unwrap();
    for file in ["lab.json", "records/lab.json"] {
        let path = test.lab("late").join(file);
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replacen(
            "\"stopped\": false,",
            "\"stopped\": false,\n  \"unfinished\": true,",
            1,
        );
        fs::write(&path, text).unwrap();
    }
    test.run(["status"])
        .code(4)
        .stderr("error: lab `late` is not set up yet\n\nhint: ckslab start late\n");
    start(&test, "late").ok();
    assert_eq!(
        fs::read_to_string(test.node("late", "/root/done")).unwrap(),
        "yes"
    );
    // A live step that fails is said with its number, and leaves no lab to work in.
    let setup = "  - wait: ready\n  - replace: {path: /etc/kubernetes/admin.conf, find: nonsense, with: a}\n";
    scenario(&work, "wrong", setup);
    let outcome = start(&test, "wrong").code(3);
    assert_eq!(
        outcome.stderr.lines().next().unwrap(),
        "error: cannot set up scenario `wrong`: step 2: `nonsense` is not in `/etc/kubernetes/admin.conf`"
    );
    assert_eq!(test.pid("wrong"), None);
    test.run(["status", "wrong"]).code(4);
}

#[test]
fn mistakes_in_steps_are_found_by_lint() {
    let dir = tempfile::tempdir().unwrap();
    scenario(
        dir.path(),
        "odd",
        "  - {remove: {path: /a}, mkdir: {path: /b}}\n",
    );
    let found = |id: &str| {
        let scenario = Scenario::find(id, Some(dir.path())).unwrap();
        ckslab::scenario::lint::lint(&scenario)
            .into_iter()
            .map(|finding| finding.message)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found("odd"),
        ["a step has exactly one action, not `remove`, `mkdir`"]
    );
    scenario(dir.path(), "odd", "  - remove: {path: a}\n  - {}\n");
    assert_eq!(
        found("odd"),
        [
            "a step has exactly one action, not none",
            "`a` is no path from the root of the node"
        ]
    );
}
