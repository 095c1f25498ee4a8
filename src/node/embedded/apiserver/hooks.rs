//! What the server does with itself before it is ready: the post-start hook `rbac/bootstrap-roles`
//! (`pkg/registry/rbac/rest/storage_rbac.go`). Its requests are audited like all others, so an audit
//! backend that makes requests wait can keep the server from becoming ready.

use std::time::Duration;

use serde_json::Value;

use super::api::Body;
use super::request::UserInfo;
use super::state::ApiState;
use crate::audit::options::number::quote;
use crate::node::embedded::machine::{LocalApi, LocalRequest};
use crate::node::embedded::version::KUBERNETES;

/// How long it may take, and how long until it is tried again.
const TIME: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_secs(1);
/// How often the time is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// The group, as a part of paths.
const GROUP: &str = "/apis/rbac.authorization.k8s.io/v1";

/// The names of the hooks that are not finished before it.
pub(super) const HOOKS: [&str; 2] = [
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
];

/// Looks at the roles that every cluster has, until all is well.
///
/// # Errors
/// Why the server has to end.
pub(super) async fn bootstrap_roles(state: &ApiState, api: &dyn LocalApi) -> Result<(), String> {
    let clock = state.audit.clock();
    let begin = clock.elapsed();
    let hook = Hook {
        state,
        api,
        user: UserInfo {
            username: "system:apiserver".to_owned(),
            uid: uuid::Uuid::new_v4().to_string(),
            groups: vec![
                "system:authenticated".to_owned(),
                "system:masters".to_owned(),
            ],
            ..UserInfo::default()
        },
    };
    let working = async {
        while !hook.reconcile().await {
            clock.sleep(AGAIN).await;
        }
    };
    let late = async {
        while clock.elapsed().saturating_sub(begin) < TIME {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = working => Ok(()),
        () = late => Err(
            "unable to initialize roles: timed out waiting for the condition".to_owned(),
        ),
    }
}

struct Hook<'a> {
    state: &'a ApiState,
    api: &'a dyn LocalApi,
    user: UserInfo,
}

impl Hook<'_> {
    /// `ensureRBACPolicy`; `false` when it has to be tried again.
    async fn reconcile(&self) -> bool {
        for resource in ["clusterroles", "clusterrolebindings"] {
            if let Err(reason) = self.get(&format!("{GROUP}/{resource}"), resource).await {
                self.unhandled(
                    "storage_rbac.go:195",
                    &format!("unable to initialize {resource}: {reason}"),
                );
                return false;
            }
        }
        let mut well = true;
        for resource in [
            "clusterroles",
            "clusterrolebindings",
            "roles",
            "rolebindings",
        ] {
            let prefix = format!("/registry/rbac.authorization.k8s.io/{resource}/");
            for stored in self.state.store.list(&prefix).0 {
                let text = |path: &str| stored.value.pointer(path).and_then(Value::as_str);
                if text("/metadata/labels/kubernetes.io~1bootstrapping").is_none() {
                    continue;
                }
                let name = text("/metadata/name").unwrap_or_default();
                let path = match text("/metadata/namespace") {
                    Some(namespace) => format!("{GROUP}/namespaces/{namespace}/{resource}/{name}"),
                    None => format!("{GROUP}/{resource}/{name}"),
                };
                if let Err(reason) = self.get(&path, resource).await {
                    let kind = resource.trim_end_matches('s');
                    self.unhandled(
                        "storage_rbac.go:219",
                        &format!(
                            "unable to reconcile {kind}.rbac.authorization.k8s.io/{name}: {reason}"
                        ),
                    );
                    well = false;
                }
            }
        }
        well
    }

    fn unhandled(&self, place: &str, reason: &str) {
        self.state.klog.error(
            place,
            &format!(
                "\"Unhandled Error\" err={} logger=\"UnhandledError\"",
                quote(reason)
            ),
        );
    }

    async fn get(&self, path: &str, resource: &str) -> Result<(), String> {
        let request = LocalRequest {
            user: self.user.clone(),
            user_agent: format!("kube-apiserver/{KUBERNETES} (linux/amd64) kubernetes/0000000"),
            source_ip: "::1".to_owned(),
            method: http::Method::GET,
            path_and_query: path.to_owned(),
            content_type: String::new(),
            body: None,
        };
        let response = self.api.call(request).await;
        if response.code < 400 {
            return Ok(());
        }
        let message = match &response.body {
            Body::Bytes { bytes, .. } => String::from_utf8_lossy(bytes).trim().to_owned(),
            _ => "unknown".to_owned(),
        };
        Err(format!(
            "an error on the server ({}) has prevented the request from succeeding (get {resource}.rbac.authorization.k8s.io)",
            quote(&message)
        ))
    }
}
