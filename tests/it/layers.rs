//! What the parts of the program may know of each other, as far as their texts tell.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn sources(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path.display().to_string(), text));
        }
    }
}

/// Files below a directory of `src` that name one of these modules.
fn naming(dirs: &[&str], modules: &[&str]) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for dir in dirs {
        sources(&root.join(dir), &mut found);
    }
    let prefix = format!("{}/", root.display());
    found
        .into_iter()
        .filter(|(_, text)| {
            // Tests of a part may build what it works on.
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            modules.iter().any(|module| text.contains(module))
        })
        .map(|(path, _)| path.replace(&prefix, ""))
        .collect()
}

#[test]
fn engines_are_known_by_their_interface() {
    let known = naming(&["cli", "lab", "grade", "scenario"], &["node::embedded"]);
    let expected = [
        // The hidden commands that are processes of the embedded engine.
        "cli/mod.rs",
        "cli/node_enter.rs",
        "cli/node_process.rs",
        // Rehearsals raise an embedded node within the process that tests a scenario.
        "lab/rehearsal.rs",
    ];
    assert_eq!(known, expected.map(str::to_owned).into());
}

#[test]
fn modules_import_downward_only() {
    for (below, above) in [
        (
            &["node"][..],
            &[
                "crate::scenario",
                "crate::grade",
                "crate::lab",
                "crate::cli",
            ][..],
        ),
        (&["scenario"], &["crate::grade", "crate::lab", "crate::cli"]),
        (&["grade"], &["crate::lab", "crate::cli"]),
        (&["lab"], &["crate::cli"]),
        (
            &["audit", "manifest", "yaml"],
            &[
                "crate::node",
                "crate::scenario",
                "crate::grade",
                "crate::lab",
                "crate::cli",
                "tokio::",
            ],
        ),
    ] {
        assert_eq!(
            naming(below, above),
            BTreeSet::new(),
            "{below:?} names {above:?}"
        );
    }
}
