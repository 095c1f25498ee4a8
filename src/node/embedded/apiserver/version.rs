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
