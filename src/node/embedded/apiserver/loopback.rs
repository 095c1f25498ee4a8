//! The API server as its own client (`pkg/server/options/serving_with_loopback.go` of `k8s.io/apiserver`): what admission
//! and subresources read and write elsewhere are requests like any other, and are audited.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::Method;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::api::Body;
use super::local::Local;
use super::request::UserInfo;
use super::state::ApiState;
use crate::node::embedded::machine::{LocalApi as _, LocalRequest, Machine};
use crate::node::embedded::version::KUBERNETES;

/// Where loopback requests come from.
pub const SOURCE: &str = "::1";

/// The identity of the loopback client; its uid is made up when the process starts.
#[must_use]
pub fn user(machine: &Machine) -> UserInfo {
    let seed = format!("{} {}", machine.state_dir.display(), std::process::id());
    let digest: [u8; 32] = Sha256::digest(seed).into();
    let mut bytes = [0; 16];
    bytes
        .iter_mut()
        .zip(digest)
        .for_each(|(byte, random)| *byte = random);
    UserInfo {
        username: "system:apiserver".to_owned(),
        uid: uuid::Builder::from_random_bytes(bytes)
            .into_uuid()
            .to_string(),
        groups: vec![
            "system:authenticated".to_owned(),
            "system:masters".to_owned(),
        ],
        ..Default::default()
    }
}

/// Its user agent.
#[must_use]
pub fn agent() -> String {
    format!("kube-apiserver/{KUBERNETES} (linux/amd64) kubernetes/0000000")
}

/// Makes a request; gives its code and the object it answers. Boxed: what serves a request makes others.
#[must_use]
pub fn call(
    state: &Arc<ApiState>,
    method: Method,
    path: String,
    body: Option<Value>,
) -> Pin<Box<dyn Future<Output = (u16, Value)> + Send>> {
    send(state, method, path, "application/json", body)
}

/// Applies a configuration (server-side apply).
#[must_use]
pub fn apply(
    state: &Arc<ApiState>,
    path: String,
    configuration: Value,
) -> Pin<Box<dyn Future<Output = (u16, Value)> + Send>> {
    send(
        state,
        Method::PATCH,
        path,
        "application/apply-patch+yaml",
        Some(configuration),
    )
}

fn send(
    state: &Arc<ApiState>,
    method: Method,
    path: String,
    content_type: &str,
    body: Option<Value>,
) -> Pin<Box<dyn Future<Output = (u16, Value)> + Send>> {
    let request = LocalRequest {
        user: user(&state.machine),
        user_agent: agent(),
        source_ip: SOURCE.to_owned(),
        method,
        path_and_query: path,
        content_type: content_type.to_owned(),
        body,
    };
    let local = Local::new(state.clone());
    Box::pin(async move {
        let response = local.call(request).await;
        match response.body {
            Body::Object(value) => (response.code, value),
            _ => (response.code, Value::Null),
        }
    })
}
