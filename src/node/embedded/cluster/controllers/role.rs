//! Aggregated cluster roles (`pkg/controller/clusterroleaggregation`).

use std::time::Duration;

use serde_json::{Value, json};

use super::Controllers;
use crate::node::embedded::apiserver::kinds::edit::items;
use crate::node::embedded::apiserver::kinds::selector;
use crate::node::embedded::cluster::object::name;

pub(super) async fn aggregate(c: &mut Controllers) -> Option<Duration> {
    let roles = c.list("/registry/rbac.authorization.k8s.io/clusterroles/");
    for role in &roles {
        let selectors = items(&role.value, "/aggregationRule/clusterRoleSelectors");
        if selectors.is_empty() {
            continue;
        }
        let mut rules: Vec<Value> = Vec::new();
        for wanted in selectors {
            for other in &roles {
                if other.key == role.key
                    || !selector::matches(wanted, other.value.pointer("/metadata/labels"))
                {
                    continue;
                }
                for rule in items(&other.value, "/rules") {
                    if !rules.contains(rule) {
                        rules.push(rule.clone());
                    }
                }
            }
        }
        let current = items(&role.value, "/rules");
        let same = current.len() == rules.len() && rules.iter().all(|rule| current.contains(rule));
        if same {
            continue;
        }
        let actor = c.actor("clusterrole-aggregation-controller").await;
        let patch = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name(&role.value)}, "rules": rules});
        let path = format!(
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/{}?fieldManager=clusterrole-aggregation-controller&force=true",
            name(&role.value)
        );
        let _ = actor
            .send(
                http::Method::PATCH,
                &path,
                "application/apply-patch+yaml",
                Some(patch),
            )
            .await;
    }
    None
}
