//! The configuration that a cluster is made with: ours, merged with the user's `--kind-config`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::trouble::Trouble;

/// What kind reads (`pkg/apis/config/v1alpha4`).
const API_VERSION: &str = "kind.x-k8s.io/v1alpha4";

/// A configuration for `kind create cluster`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    value: Value,
}

impl Config {
    /// Ours alone, or merged with the user's file.
    ///
    /// # Errors
    /// When the file cannot be read, is none of kind, or asks for what a lab cannot be put on.
    pub fn load(file: Option<&Path>) -> Result<Self, Trouble> {
        let Some(path) = file else {
            return Ok(Self { value: ours() });
        };
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Trouble::new(
                format!("cannot read `{shown}`: {error}"),
                "give the path of a kind configuration file with --kind-config",
            )
        })?;
        merge(&text).map_err(|reason| {
            Trouble::new(
                format!("`{shown}` is no configuration for a lab's cluster: {reason}"),
                "https://kind.sigs.k8s.io/docs/user/configuration/",
            )
        })
    }

    /// Whether it names the image of its nodes itself.
    #[must_use]
    pub fn names_image(&self) -> bool {
        self.value
            .pointer("/nodes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .any(|node| node.get("image").is_some())
    }

    /// The file for kind: JSON is YAML.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{:#}\n", self.value)
    }
}

/// What every lab's cluster is.
fn ours() -> Value {
    json!({
        "kind": "Cluster",
        "apiVersion": API_VERSION,
        "nodes": [{"role": "control-plane"}],
    })
}

/// Merges the user's configuration into ours: its fields win, and `name` is left out, as the name is ours.
///
/// # Errors
/// What is wrong with it.
pub fn merge(text: &str) -> Result<Config, String> {
    let theirs: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let Value::Object(mut theirs) = theirs else {
        return Err("it is no mapping".to_owned());
    };
    for (field, wanted) in [("kind", "Cluster"), ("apiVersion", API_VERSION)] {
        match theirs.get(field).map(|value| value.as_str().unwrap_or("")) {
            None => {}
            Some(value) if value == wanted => {}
            Some(value) => return Err(format!("`{field}` is `{value}`, not `{wanted}`")),
        }
    }
    theirs.remove("name");
    let nodes = theirs.get("nodes").cloned().unwrap_or(Value::Null);
    match &nodes {
        Value::Null => {
            theirs.remove("nodes");
        }
        Value::Array(nodes) => {
            let control = nodes
                .iter()
                .filter(|node| {
                    let role = node.get("role").and_then(Value::as_str);
                    role.unwrap_or("control-plane") == "control-plane"
                })
                .count();
            if control != 1 {
                return Err(format!(
                    "it has {control} control-plane nodes, and a lab is about exactly one"
                ));
            }
        }
        _ => return Err("`nodes` is no list".to_owned()),
    }
    let mut merged = match ours() {
        Value::Object(ours) => ours,
        _ => Map::new(),
    };
    for (field, value) in theirs {
        merged.insert(field, value);
    }
    Ok(Config {
        value: Value::Object(merged),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        serde_json::from_str(&merge(text).unwrap().text()).unwrap()
    }

    #[test]
    fn theirs_is_merged_into_ours() {
        let merged = value(
            "kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
name: mine
networking: {apiServerPort: 6444}
kubeadmConfigPatches:
- |
  kind: KubeletConfiguration
  failCgroupV1: false
",
        );
        assert_eq!(
            merged,
            json!({
                "kind": "Cluster",
                "apiVersion": API_VERSION,
                "nodes": [{"role": "control-plane"}],
                "networking": {"apiServerPort": 6444},
                "kubeadmConfigPatches": ["kind: KubeletConfiguration\nfailCgroupV1: false\n"],
            })
        );
        // Patches alone do, and nodes of theirs stay as they are.
        let merged = value("nodes: [{role: control-plane, image: a}, {role: worker}]");
        assert_eq!(merged["nodes"].as_array().unwrap().len(), 2);
        assert!(merge("nodes: [{image: a}]").unwrap().names_image());
        assert!(!merge("{}").unwrap().names_image());
    }

    #[test]
    fn what_no_lab_can_be_put_on_is_refused() {
        for (text, reason) in [
            ("- a", "it is no mapping"),
            ("kind: Pod", "`kind` is `Pod`, not `Cluster`"),
            (
                "apiVersion: v1",
                "`apiVersion` is `v1`, not `kind.x-k8s.io/v1alpha4`",
            ),
            (
                "nodes: [{}, {role: control-plane}]",
                "it has 2 control-plane nodes, and a lab is about exactly one",
            ),
            (
                "nodes: [{role: worker}]",
                "it has 0 control-plane nodes, and a lab is about exactly one",
            ),
        ] {
            assert_eq!(merge(text).unwrap_err(), reason);
        }
    }
}
