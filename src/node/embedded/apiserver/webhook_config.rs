//! The kubeconfig of the audit webhook (`client-go/tools/clientcmd`).

use std::io;

use serde_json::Value;

use crate::audit::options::number::quote;
use crate::node::embedded::process::go_error_text;

/// Where the webhook is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookConfig {
    /// URL of the server.
    pub server: String,
}

/// Loads the configuration.
///
/// # Errors
/// The text of `clientcmd`, without `initializing audit webhook: `.
pub fn load(
    path: &str,
    read: impl Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<WebhookConfig, String> {
    let bytes = read(path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            format!("stat {path}: {}", go_error_text(&error))
        } else if error.kind() == io::ErrorKind::IsADirectory {
            format!(
                "error loading config file {}: read {path}: is a directory",
                quote(path)
            )
        } else {
            format!(
                "error loading config file {}: open {path}: {}",
                quote(path),
                go_error_text(&error)
            )
        }
    })?;
    let document = crate::yaml::to_json(&bytes)
        .map_err(|error| format!("error loading config file {}: {error}", quote(path)))?;
    let config = document.value;
    let named = |list: &str, name: &str, field: &str| -> Option<Value> {
        config
            .get(list)?
            .as_array()?
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some(name))?
            .get(field)
            .cloned()
    };
    let text = |value: &Value, field: &str| {
        value
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let empty = || {
        "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable"
            .to_owned()
    };
    let current = text(&config, "current-context");
    if current.is_empty() {
        return Err(empty());
    }
    let Some(context) = named("contexts", &current, "context") else {
        return Err(format!(
            "invalid configuration: context was not found for specified context: {current}"
        ));
    };
    let cluster_name = text(&context, "cluster");
    let Some(cluster) = named("clusters", &cluster_name, "cluster") else {
        return Err(empty());
    };
    let server = text(&cluster, "server");
    if server.is_empty() {
        return Err(empty());
    }
    let mut problems = Vec::new();
    let mut check = |object: &Value, field: &str, what: &str, name: &str| {
        let file = text(object, field);
        if file.is_empty() {
            return;
        }
        if let Err(error) = read(&file) {
            problems.push(format!(
                "unable to read {what} {file} for {name} due to open {file}: {}",
                go_error_text(&error)
            ));
        }
    };
    check(
        &cluster,
        "certificate-authority",
        "certificate-authority",
        &cluster_name,
    );
    let user_name = text(&context, "user");
    if let Some(user) = named("users", &user_name, "user") {
        check(&user, "client-certificate", "client-cert", &user_name);
        check(&user, "client-key", "client-key", &user_name);
    }
    match problems.as_slice() {
        [] => Ok(WebhookConfig { server }),
        [one] => Err(format!("invalid configuration: {one}")),
        many => Err(format!("invalid configuration: [{}]", many.join(", "))),
    }
}
