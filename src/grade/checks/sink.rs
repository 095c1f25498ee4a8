//! Whether the running API server's audit webhook leads to a receiver on the node.
//!
//! What comes to the receiver is evidence for the same reason as what is in the server's own log: the Audit-IDs
//! of a grading are random and travel over TLS only. So that it came through the webhook and not by way of a log
//! that is written to the same file, the webhook's configuration is looked at as the process sees it.

use serde_json::Value;

use super::files;
use crate::grade::facts::Facts;
use crate::node::{Node, NodeFile};
use crate::scenario::step::RunSink;
use crate::yaml;

/// The flag that names the webhook's configuration, without dashes.
pub const FLAG: &str = "audit-webhook-config-file";
/// The command that shows why a webhook's posts fail.
pub const WHY: &str = "crictl logs $(crictl ps -q --name kube-apiserver) 2>&1 | grep -i 'audit\\|webhook' | tail -n 5";

/// The webhook of the running API server posts to this receiver.
///
/// # Errors
/// Why not.
pub fn leads_to(node: &dyn Node, facts: &Facts, sink: &RunSink) -> Result<(), String> {
    let Some(file) = facts.flags.text(FLAG) else {
        return Err(format!("the running API server has no --{FLAG}"));
    };
    if let Some(log) = facts.flags.text("audit-log-path")
        && files::same_file(node, log, &sink.entries).is_ok()
    {
        return Err(format!(
            "`{}` is the receiver's file, and the API server writes a log of its own to it",
            sink.entries
        ));
    }
    let seen = node.read_as_api_server(file);
    let Ok(NodeFile::File { content, .. }) = seen else {
        return Err(format!("the API server sees no file `{file}`"));
    };
    let server = server(&content).ok_or_else(|| {
        format!("`{file}`, as the API server sees it, names no server in its current context")
    })?;
    let wanted = format!("https://127.0.0.1:{}{}", sink.port, sink.url_path);
    let elsewhere =
        || format!("the webhook posts to `{server}`, and the receiver is at `{wanted}`");
    let url: http::Uri = server.parse().map_err(|_| elsewhere())?;
    let secure = url.scheme() == Some(&http::uri::Scheme::HTTPS);
    let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let plain = |path: &str| path.trim_matches('/').to_owned();
    if secure && port == sink.port && plain(url.path()) == plain(&sink.url_path) {
        Ok(())
    } else {
        Err(elsewhere())
    }
}

/// The server of the current context of a kubeconfig.
fn server(content: &[u8]) -> Option<String> {
    let config = yaml::to_json(content).ok()?.value;
    let named = |list: &str, name: &Value, what: &str| {
        let all = config.get(list)?.as_array()?;
        let found = all.iter().find(|item| item.get("name") == Some(name))?;
        found.get(what).cloned()
    };
    let context = named("contexts", config.get("current-context")?, "context")?;
    let cluster = named("clusters", context.get("cluster")?, "cluster")?;
    Some(cluster.get("server")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_that_of_the_current_context() {
        let config = "apiVersion: v1
kind: Config
current-context: b
contexts: [{name: a, context: {cluster: x}}, {name: b, context: {cluster: y}}]
clusters: [{name: x, cluster: {server: 'https://x'}}, {name: y, cluster: {server: 'https://y:1/z'}}]
";
        assert_eq!(server(config.as_bytes()).as_deref(), Some("https://y:1/z"));
        let nowhere = config.replace("current-context: b", "current-context: c");
        assert_eq!(server(nowhere.as_bytes()), None);
        assert_eq!(server(b"{"), None);
    }
}
