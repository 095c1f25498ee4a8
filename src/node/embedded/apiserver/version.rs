//! `/version`, and the versions the server speaks of.

use serde_json::{Value, json};

use crate::node::embedded::version::KUBERNETES;

/// The body of `/version`.
#[must_use]
pub fn info() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": KUBERNETES,
        "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean",
        "buildDate": "2026-06-10T00:00:00Z",
        "goVersion": "go1.27.3-X:nojsonv2",
        "compiler": "gc",
        "platform": "linux/amd64",
    })
}

/// What `--version=raw` prints: Go's `%#v` of the version the binary was built with.
#[must_use]
pub fn go_syntax() -> String {
    let info = info();
    let fields = [
        ("Major", "major"),
        ("Minor", "minor"),
        ("EmulationMajor", ""),
        ("EmulationMinor", ""),
        ("MinCompatibilityMajor", ""),
        ("MinCompatibilityMinor", ""),
        ("GitVersion", "gitVersion"),
        ("GitCommit", "gitCommit"),
        ("GitTreeState", "gitTreeState"),
        ("BuildDate", "buildDate"),
        ("GoVersion", "goVersion"),
        ("Compiler", "compiler"),
        ("Platform", "platform"),
    ];
    let all: Vec<String> = fields
        .iter()
        .map(|(name, key)| {
            let value = info.get(*key).and_then(Value::as_str).unwrap_or_default();
            format!("{name}:{}", crate::audit::options::number::quote(value))
        })
        .collect();
    format!("version.Info{{{}}}", all.join(", "))
}
