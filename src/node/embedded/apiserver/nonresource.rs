//! Paths that are no API resources.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::api::{ApiResponse, ApiResult, Body};
use super::request::ApiRequest;
use super::state::ApiState;
use super::status::Status;
use super::{catalog, discovery, encoding, health, metrics, openapi, version};

/// What Go's router says of a path nobody serves.
#[must_use]
pub fn not_found() -> ApiResponse {
    health::text(404, "404 page not found\n".to_owned(), true)
}

fn json_bytes(bytes: Vec<u8>) -> ApiResponse {
    ApiResponse {
        code: 200,
        headers: Vec::new(),
        body: Body::Bytes {
            content_type: "application/json".to_owned(),
            bytes: bytes.into(),
        },
    }
}

/// Issuer metadata may be cached (`pkg/routes/openidmetadata.go`).
fn public(mut response: ApiResponse) -> ApiResponse {
    response.headers.push((
        http::header::CACHE_CONTROL,
        http::HeaderValue::from_static("public, max-age=3600"),
    ));
    response
}

/// Serves a path.
///
/// # Errors
/// The Status to answer with.
pub fn serve(state: &Arc<ApiState>, request: &ApiRequest) -> ApiResult {
    if let Some(response) = health::serve(state, request) {
        return Ok(response);
    }
    let get = matches!(request.method.as_str(), "GET" | "HEAD");
    match request.info.path.as_str() {
        "/version" | "/version/" => {
            if !get {
                return Err(Status::new(
                    405,
                    "MethodNotAllowed",
                    "the server does not allow this method on the requested resource",
                )
                .with_details(json!({})));
            }
            return Ok(json_bytes(encoding::pretty_json(&version::info())));
        }
        "/" | "/index.html" => return Ok(json_bytes(encoding::pretty_json(&index(state)))),
        "/metrics" => {
            return Ok(ApiResponse {
                code: 200,
                headers: vec![(
                    http::HeaderName::from_static("process-start-time-unix"),
                    state.started.as_second().into(),
                )],
                body: Body::Bytes {
                    content_type: "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
                        .to_owned(),
                    bytes: metrics::text(state).into(),
                },
            });
        }
        "/debug/pprof/" if state.flags.line.bool("profiling") => {
            return Ok(ApiResponse {
                code: 200,
                headers: vec![(
                    http::header::X_CONTENT_TYPE_OPTIONS,
                    http::HeaderValue::from_static("nosniff"),
                )],
                body: Body::Bytes {
                    content_type: "text/html; charset=utf-8".to_owned(),
                    bytes: "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n/debug/pprof/\n<br>\n</body>\n</html>\n".into(),
                },
            });
        }
        "/.well-known/openid-configuration" => {
            let uri = format!("https://{}/openid/v1/jwks", state.external_address());
            return Ok(public(json_bytes(encoding::json(
                &state.tokens.discovery(&uri),
            ))));
        }
        "/openid/v1/jwks" => {
            let mut response = json_bytes(encoding::json(&state.tokens.key_set()));
            if let Body::Bytes { content_type, .. } = &mut response.body {
                "application/jwk-set+json".clone_into(content_type);
            }
            return Ok(public(response));
        }
        _ => {}
    }
    discovery::serve(state, request)
        .or_else(|| openapi::serve(state, request))
        .unwrap_or_else(|| Ok(not_found()))
}

/// The paths listed at `/`.
fn index(state: &ApiState) -> Value {
    let mut paths: BTreeSet<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/",
        "/flagz",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/statusz",
        "/version",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    let mut add = |group: &str, version: &str| {
        if !group.is_empty() {
            paths.insert(format!("/apis/{group}"));
            paths.insert(format!("/apis/{group}/{version}"));
        }
    };
    for resource in catalog::built_in() {
        add(&resource.group, &resource.version);
    }
    for custom in state.custom.all().iter() {
        add(&custom.resource.group, &custom.resource.version);
    }
    for endpoint in health::ENDPOINTS {
        paths.insert(format!("/{endpoint}"));
        for check in health::checks_of(state, endpoint) {
            paths.insert(format!("/{endpoint}/{check}"));
        }
    }
    json!({"paths": paths})
}

impl ApiState {
    /// Address and port that the server tells clients about.
    #[must_use]
    pub fn external_address(&self) -> String {
        let host = [
            self.flags.line.text("external-hostname"),
            self.flags.line.text("advertise-address"),
        ]
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_else(|| self.machine.node_ip.clone());
        format!("{host}:{}", self.flags.secure_port())
    }
}
