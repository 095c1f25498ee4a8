//! Mutants of the API server's manifest: its audit flags, and the volumes and mounts they need.

use crate::audit::options::AuditOptions;
use crate::grade::argv::{Flags, base, below};
use crate::grade::pod::ApiServerPod;
use crate::scenario::manifest_edit::{FindWith, ManifestEdit, Restyle, SetMount, SetVolume};
use crate::scenario::manifest_text;

/// A changed manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What was done, the same for every seed.
    pub name: String,
    /// The file.
    pub text: String,
    /// Whether it means something else.
    pub changes: bool,
}

/// Every mutant of a manifest, one change each. `start` is the manifest before the work: what it has is not
/// renamed. None where the manifest cannot be read, or is not written in block style.
#[must_use]
pub fn candidates(text: &str, start: &str) -> Vec<Candidate> {
    let Ok(pod) = ApiServerPod::read(text.as_bytes(), "node") else {
        return Vec::new();
    };
    let mut all = Mutants {
        text,
        pod: &pod,
        found: Vec::new(),
    };
    all.style();
    all.flags();
    all.volumes(ApiServerPod::read(start.as_bytes(), "node").ok().as_ref());
    all.found
}

struct Mutants<'a> {
    text: &'a str,
    pod: &'a ApiServerPod,
    found: Vec<Candidate>,
}

impl Mutants<'_> {
    fn push(&mut self, name: impl Into<String>, edit: ManifestEdit, changes: Option<bool>) {
        // A change that has no place in this text is none.
        let Ok(text) = manifest_text::edit(self.text, &edit) else {
            return;
        };
        let changes = changes.unwrap_or_else(|| self.options_differ(&text));
        self.found.push(Candidate {
            name: format!("manifest: {}", name.into()),
            text,
            changes,
        });
    }

    /// Whether the audit options that a manifest asks for are others.
    fn options_differ(&self, text: &str) -> bool {
        let options = |pod: &ApiServerPod| AuditOptions::from_argv(&pod.argv).ok();
        let other = ApiServerPod::read(text.as_bytes(), "node").ok();
        let other = other.as_ref().and_then(options);
        other.is_none() || other != options(self.pod)
    }

    fn style(&mut self) {
        let restyled = |style| ManifestEdit {
            restyle: Some(style),
            ..ManifestEdit::default()
        };
        self.push("as JSON", restyled(Restyle::Json), Some(false));
        self.push(
            "quoted, keys in order",
            restyled(Restyle::Quoted),
            Some(false),
        );
        let commented = format!("# --audit-log-path=/nowhere\n{}\n# the end\n", self.text);
        self.found.push(Candidate {
            name: "manifest: with comments".to_owned(),
            text: commented,
            changes: false,
        });
    }

    fn flags(&mut self) {
        let flags = Flags::of(&self.pod.argv);
        let audit: Vec<(String, String)> = flags
            .iter()
            .filter(|(name, _)| name.starts_with("audit-"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        for (name, value) in &audit {
            let known = self.found.len();
            self.push(
                format!("without --{name}"),
                ManifestEdit {
                    remove_flags: vec![name.clone()],
                    ..ManifestEdit::default()
                },
                None,
            );
            // Of a value that is the default anyway, a task may want to see it written or not.
            if self.found.last().is_some_and(|last| !last.changes) {
                self.found.truncate(known);
            }
            self.push(
                format!("--{name} misspelt"),
                ManifestEdit {
                    rename_flags: vec![crate::scenario::manifest_edit::Rename {
                        from: name.clone(),
                        to: format!("{name}s"),
                    }],
                    ..ManifestEdit::default()
                },
                Some(true),
            );
            for (what, other) in others(value) {
                let edit = ManifestEdit {
                    set_flags: vec![format!("{name}={other}")],
                    ..ManifestEdit::default()
                };
                self.push(format!("--{name} {what}"), edit, None);
            }
            let line = format!("- --{name}={value}\n");
            self.push(
                format!("--{name} as two arguments"),
                ManifestEdit {
                    replace: vec![FindWith {
                        when: None,
                        find: line.clone(),
                        with: format!("- --{name}\n    - \"{value}\"\n"),
                    }],
                    ..ManifestEdit::default()
                },
                None,
            );
            self.push(
                format!("--{name} in quotes"),
                ManifestEdit {
                    replace: vec![FindWith {
                        when: None,
                        find: line,
                        with: format!("- \"--{name}={value}\"\n"),
                    }],
                    ..ManifestEdit::default()
                },
                None,
            );
        }
        let numbers: Vec<&(String, String)> = audit
            .iter()
            .filter(|(_, value)| value.parse::<i64>().is_ok())
            .collect();
        for pair in numbers.windows(2) {
            if let [(one, a), (other, b)] = pair {
                let edit = ManifestEdit {
                    set_flags: vec![format!("{one}={b}"), format!("{other}={a}")],
                    ..ManifestEdit::default()
                };
                self.push(
                    format!("values of --{one} and --{other} exchanged"),
                    edit,
                    None,
                );
            }
        }
    }

    /// Volumes and mounts that the audit flags need.
    fn volumes(&mut self, start: Option<&ApiServerPod>) {
        let flags = Flags::of(&self.pod.argv);
        for flag in [
            "audit-policy-file",
            "audit-log-path",
            "audit-webhook-config-file",
        ] {
            let Some(path) = flags.text(flag) else {
                continue;
            };
            let mounts = self.pod.mounts.iter();
            let Some(mount) = mounts
                .filter(|mount| below(path, &mount.path).is_some())
                .max_by_key(|mount| mount.path.len())
            else {
                continue;
            };
            let name = mount.name.clone();
            if self.pod.mounts.iter().filter(|m| m.name == name).count() != 1 {
                continue;
            }
            self.needed(flag, &name, &mount.path.clone());
            let own = start.is_some_and(|start| start.volumes.iter().all(|v| v.name != name));
            if own {
                let renamed = format!("{name}-files");
                let edit = ManifestEdit {
                    set_volumes: vec![SetVolume {
                        name: name.clone(),
                        rename: Some(renamed.clone()),
                        ..SetVolume::default()
                    }],
                    set_mounts: vec![SetMount {
                        name: name.clone(),
                        rename: Some(renamed),
                        ..SetMount::default()
                    }],
                    ..ManifestEdit::default()
                };
                self.push(
                    format!("volume of --{flag} renamed in both places"),
                    edit,
                    Some(false),
                );
            }
        }
    }

    fn needed(&mut self, flag: &str, name: &str, path: &str) {
        let mount = |set: SetMount| ManifestEdit {
            set_mounts: vec![SetMount {
                name: name.to_owned(),
                ..set
            }],
            ..ManifestEdit::default()
        };
        self.push(
            format!("without the mount of --{flag}"),
            ManifestEdit {
                remove_mounts: vec![name.to_owned()],
                ..ManifestEdit::default()
            },
            Some(true),
        );
        self.push(
            format!("without the volume of --{flag}"),
            ManifestEdit {
                remove_volumes: vec![name.to_owned()],
                ..ManifestEdit::default()
            },
            Some(true),
        );
        self.push(
            format!("mount path of --{flag} changed"),
            mount(SetMount {
                path: Some(format!("{path}-2")),
                ..SetMount::default()
            }),
            Some(true),
        );
        if !base(path).contains('.') {
            self.push(
                format!("mount path of --{flag} with a slash at its end"),
                mount(SetMount {
                    path: Some(format!("{path}/")),
                    ..SetMount::default()
                }),
                Some(false),
            );
        }
        self.push(
            format!("mount of --{flag} renamed, volume not"),
            mount(SetMount {
                rename: Some(format!("{name}-2")),
                ..SetMount::default()
            }),
            Some(true),
        );
        self.push(
            format!("volume path of --{flag} changed"),
            ManifestEdit {
                set_volumes: vec![SetVolume {
                    name: name.to_owned(),
                    path: Some("/srv/elsewhere".to_owned()),
                    kind: Some(String::new()),
                    ..SetVolume::default()
                }],
                ..ManifestEdit::default()
            },
            Some(true),
        );
        if flag == "audit-log-path" {
            self.push(
                "mount of the log read-only",
                mount(SetMount {
                    read_only: Some(true),
                    ..SetMount::default()
                }),
                Some(true),
            );
        }
    }
}

/// Other values of a flag, each with what was done.
fn others(value: &str) -> Vec<(&'static str, String)> {
    if let Ok(number) = value.parse::<i64>() {
        return vec![
            ("one more", (number + 1).to_string()),
            ("one less", (number - 1).to_string()),
            ("ten times", (number * 10).to_string()),
            ("in hexadecimal", format!("{number:#x}")),
        ];
    }
    match value {
        "true" => return vec![("false", "false".to_owned()), ("1", "1".to_owned())],
        "false" => return vec![("true", "true".to_owned())],
        _ => {}
    }
    if value.starts_with('/') {
        return vec![("another file", format!("{value}2"))];
    }
    let mut others = vec![("no such value", format!("{value}x"))];
    for mode in ["blocking", "batch", "blocking-strict"] {
        if value != mode && ["blocking", "batch", "blocking-strict"].contains(&value) {
            others.push(("another mode", mode.to_owned()));
        }
    }
    others
}
