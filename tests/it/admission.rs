//! Whom admission asks, and what it makes of conditions.

use std::sync::Arc;

use ckslab::node::embedded::apiserver::api::Body;
use ckslab::node::embedded::apiserver::local::Local;
use ckslab::node::embedded::apiserver::request::UserInfo;
use ckslab::node::embedded::machine::{LocalApi as _, LocalRequest};
use ckslab::node::embedded::store::{Op, Store};
use serde_json::{Value, json};

use crate::server::Server;

const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n";

/// A server with a webhook that nobody answers for, about config maps.
async fn server(conditions: Value, failure: &'static str) -> Server {
    let store = tokio::task::spawn_blocking(move || {
        let store = Store::in_memory();
        let hook = json!({"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "hooks"},
            "webhooks": [{"name": "maps.example.com", "failurePolicy": failure, "sideEffects": "None",
                "matchPolicy": "Equivalent", "timeoutSeconds": 5, "matchConditions": conditions,
                "clientConfig": {"url": "https://127.0.0.1:9443/maps"},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                    "operations": ["*"], "scope": "*"}]}]});
        let put = |key: &str, value: Value| Op::Put {
            key: key.to_owned(),
            value: Arc::new(value),
        };
        store
            .commit_blocking(vec![
                put(
                    "/registry/core/namespaces/default",
                    json!({"kind": "Namespace",
                    "metadata": {"name": "default"}, "status": {"phase": "Active"}}),
                ),
                put(
                    "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/hooks",
                    hook,
                ),
            ])
            .unwrap();
        store
    });
    Server::on(
        store.await.unwrap(),
        POLICY,
        "/nonexistent".as_ref(),
        &["--authorization-mode=RBAC"],
    )
}

/// What the server says to somebody who makes a config map: code and message.
async fn create(server: &Server, name: &str, groups: &[&str]) -> (u16, String) {
    let request = LocalRequest {
        user: UserInfo {
            username: "jane".to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..UserInfo::default()
        },
        user_agent: "test".to_owned(),
        source_ip: "127.0.0.1".to_owned(),
        method: http::Method::POST,
        path_and_query: "/api/v1/namespaces/default/configmaps".to_owned(),
        content_type: String::new(),
        body: Some(json!({"metadata": {"name": name}, "data": {"a": "b"}})),
    };
    let response = Local::new(server.state.clone()).call(request).await;
    let message = match &response.body {
        Body::Object(object) => object["message"].as_str().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    (response.code, message)
}

const MASTERS: &[&str] = &["system:masters", "system:authenticated"];

#[tokio::test]
async fn a_webhook_is_asked_only_where_its_conditions_hold() {
    let conditions = json!([
        {"name": "not-mine", "expression": "object.metadata.name != 'mine'"},
        {"name": "by-hand", "expression": "request.userInfo.username == 'jane' && request.operation == 'CREATE'"},
    ]);
    let server = server(conditions, "Fail").await;
    assert_eq!(create(&server, "mine", MASTERS).await.0, 201);
    let (code, message) = create(&server, "other", MASTERS).await;
    assert_eq!(code, 500);
    assert!(
        message.contains("failed calling webhook \"maps.example.com\""),
        "{message}"
    );
}

#[tokio::test]
async fn a_condition_that_fails_closes_or_passes_over() {
    let conditions = json!([
        {"name": "a", "expression": "object.metadata.labels.team == 'x'"},
        {"name": "b", "expression": "object.data.a == 'b'"},
    ]);
    let closed = server(conditions.clone(), "Fail").await;
    assert_eq!(
        create(&closed, "one", MASTERS).await,
        (403, "configmaps \"one\" is forbidden: expression 'object.metadata.labels.team == 'x'' resulted in error: no such key: labels".to_owned())
    );
    let open = server(conditions, "Ignore").await;
    assert_eq!(create(&open, "one", MASTERS).await.0, 201);
    // One that is false decides, whatever else failed.
    let decided = server(
        json!([
            {"name": "a", "expression": "object.metadata.labels.team == 'x'"},
            {"name": "b", "expression": "object.data.a == 'c'"},
        ]),
        "Fail",
    )
    .await;
    assert_eq!(create(&decided, "one", MASTERS).await.0, 201);
}

#[tokio::test]
async fn conditions_ask_the_real_authoriser() {
    let conditions = json!([{"name": "no-breakglass",
        "expression": "!authorizer.group('admissionregistration.k8s.io').resource('validatingwebhookconfigurations').name('hooks').check('breakglass').allowed()"}]);
    let server = server(conditions, "Fail").await;
    assert_eq!(create(&server, "one", MASTERS).await.0, 201);
    let rules = json!({"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}],
        "metadata": {"name": "maps"}});
    let binding = json!({"metadata": {"name": "maps"}, "subjects": [{"kind": "Group", "name": "developers",
        "apiGroup": "rbac.authorization.k8s.io"}], "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole", "name": "maps"}});
    for (plural, object) in [("clusterroles", rules), ("clusterrolebindings", binding)] {
        let key = format!("/registry/rbac.authorization.k8s.io/{plural}/maps");
        server.state.store.create(&key, object).await.unwrap();
    }
    assert_eq!(create(&server, "two", &["developers"]).await.0, 500);
}
