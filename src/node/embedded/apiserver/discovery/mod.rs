//! Discovery: `/api`, `/apis` and below, legacy and aggregated.

mod entry;
mod order;

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

use super::api::{ApiResponse, ApiResult, Body};
use super::catalog;
use super::request::ApiRequest;
use super::state::{ApiState, CustomResource};
use super::status::Status;
use entry::{Entry, aggregated, legacy};
use order::version_rank;

/// The content type of aggregated discovery.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Serves a discovery path; `None` for any other path.
#[must_use]
pub fn serve(state: &Arc<ApiState>, request: &ApiRequest) -> Option<ApiResult> {
    let custom = state.custom.all();
    let discovery = Discovery {
        custom: &custom,
        address: &server_address(state),
    };
    discovery.answer(
        &request.method,
        &request.info.path,
        request.header("accept").unwrap_or_default(),
        request.header("if-none-match").unwrap_or_default(),
    )
}

/// Where clients reach the server, as `/api` tells them: the advertised address.
fn server_address(state: &ApiState) -> String {
    let advertised = state.flags.line.text("advertise-address");
    let host = if advertised.is_empty() {
        &state.machine.node_ip
    } else {
        &advertised
    };
    format!("{host}:{}", state.flags.secure_port())
}

/// A document that aggregated discovery and the legacy one are made of.
pub struct Discovery<'a> {
    /// The custom resources served now.
    pub custom: &'a [CustomResource],
    /// Host and port of the server.
    pub address: &'a str,
}

/// What a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepted {
    Plain,
    Aggregated,
    Nothing,
}

impl Discovery<'_> {
    /// The answer for a path, if it is one of discovery.
    #[must_use]
    pub fn answer(
        &self,
        method: &Method,
        path: &str,
        accept: &str,
        if_none_match: &str,
    ) -> Option<ApiResult> {
        let trimmed = path.strip_suffix('/').unwrap_or(path);
        let parts: Vec<&str> = trimmed.strip_prefix('/')?.split('/').collect();
        let known = matches!(
            parts.as_slice(),
            ["api" | "apis"] | ["api" | "apis", _] | ["apis", _, _]
        );
        if !known || parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        Some(match parts.as_slice() {
            ["apis"] => self.root(accept, if_none_match, "apis"),
            ["apis", group] => self.group(group),
            // These are routes of their own for GET only.
            _ if method != Method::GET => Err(Status::new(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            )
            .with_details(json!({}))),
            ["api"] => self.root(accept, if_none_match, "api"),
            ["api", version] => self.version("", version),
            ["apis", group, version] => self.version(group, version),
            _ => return None,
        })
    }

    fn root(&self, accept: &str, if_none_match: &str, which: &str) -> ApiResult {
        match accepted(accept) {
            Accepted::Aggregated => Ok(self.aggregated(which == "api", if_none_match)),
            Accepted::Plain if which == "api" => Ok(ApiResponse::object(200, self.api_versions())),
            Accepted::Plain => Ok(ApiResponse::object(200, self.group_list())),
            // The route of `/api` declares what it produces, and is refused before its handler.
            Accepted::Nothing if which == "api" && !accept.contains("application/json") => {
                let message =
                    format!("406: Not Acceptable\n\nAvailable representations: {MEDIA_TYPES}");
                Err(Status::new(406, "NotAcceptable", message).with_details(json!({})))
            }
            Accepted::Nothing => {
                let message = format!("only the following media types are accepted: {MEDIA_TYPES}");
                Err(Status::new(406, "NotAcceptable", message))
            }
        }
    }

    fn api_versions(&self) -> Value {
        json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": self.address }],
        })
    }

    /// Groups but core, with their versions, in the order of `/apis`.
    fn groups(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> = catalog::groups()
            .iter()
            .filter(|group| !group.name.is_empty())
            .map(|group| (group.name.clone(), group.versions.clone()))
            .collect();
        let built_in = groups.len();
        for custom in self.custom {
            let (group, version) = (&custom.resource.group, &custom.resource.version);
            if catalog::group(group).is_some() {
                continue;
            }
            match groups.iter_mut().find(|(name, _)| name == group) {
                Some((_, versions)) if versions.contains(version) => {}
                Some((_, versions)) => versions.push(version.clone()),
                None => groups.push((group.clone(), vec![version.clone()])),
            }
        }
        // Groups of custom resources come last: all have the same, low priority.
        if let Some(added) = groups.get_mut(built_in..) {
            added.sort();
            for (_, versions) in added {
                versions.sort_by_cached_key(|version| Reverse(version_rank(version)));
            }
        }
        groups
    }

    fn group_list(&self) -> Value {
        let groups: Vec<Value> = self
            .groups()
            .iter()
            .map(|(name, versions)| group_body(name, versions))
            .collect();
        json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
    }

    fn group(&self, name: &str) -> ApiResult {
        let Some((name, versions)) = self.groups().into_iter().find(|(known, _)| known == name)
        else {
            return Ok(page_not_found());
        };
        let mut out = Map::new();
        out.insert("kind".to_owned(), "APIGroup".into());
        out.insert("apiVersion".to_owned(), "v1".into());
        if let Value::Object(body) = group_body(&name, &versions) {
            out.extend(body);
        }
        Ok(ApiResponse::object(200, Value::Object(out)))
    }

    fn entries(&self, group: &str, version: &str) -> Vec<Entry<'_>> {
        let built_in = catalog::of_version(group, version).map(|resource| Entry {
            resource,
            custom: None,
        });
        let custom = self
            .custom
            .iter()
            .filter(|custom| custom.resource.group == group && custom.resource.version == version)
            .map(|custom| Entry {
                resource: &custom.resource,
                custom: Some(custom),
            });
        built_in.chain(custom).collect()
    }

    fn version(&self, group: &str, version: &str) -> ApiResult {
        let entries = self.entries(group, version);
        if entries.is_empty() {
            if catalog::group(group).is_none() {
                return Ok(page_not_found());
            }
            return Err(Status::new(
                404,
                "NotFound",
                "the server could not find the requested resource",
            )
            .with_details(json!({})));
        }
        let mut out = Map::new();
        out.insert("kind".to_owned(), "APIResourceList".into());
        if !group.is_empty() {
            out.insert("apiVersion".to_owned(), "v1".into());
            out.insert(
                "groupVersion".to_owned(),
                format!("{group}/{version}").into(),
            );
        } else {
            out.insert("groupVersion".to_owned(), version.into());
        }
        let resources: Vec<Value> = entries.iter().flat_map(legacy).collect();
        out.insert("resources".to_owned(), resources.into());
        Ok(ApiResponse::object(200, Value::Object(out)))
    }

    /// `pkg/endpoints/discovery/aggregated/handler.go`.
    fn aggregated(&self, core: bool, if_none_match: &str) -> ApiResponse {
        let groups = if core {
            vec![(String::new(), vec!["v1".to_owned()])]
        } else {
            self.groups()
        };
        let items: Vec<Value> = groups
            .iter()
            .map(|(name, versions)| {
                let versions: Vec<Value> = versions
                    .iter()
                    .map(|version| {
                        let entries = self.entries(name, version);
                        let resources: Vec<Value> = entries.iter().map(aggregated).collect();
                        json!({ "version": version, "resources": resources, "freshness": "Current" })
                    })
                    .collect();
                let metadata = if core { json!({}) } else { json!({ "name": name }) };
                json!({ "metadata": metadata, "versions": versions })
            })
            .collect();
        let body = json!({
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        });
        let etag = format!("\"{}\"", etag(body.to_string().as_bytes()));
        let mut response = if if_none_match == etag {
            ApiResponse {
                code: 304,
                headers: Vec::new(),
                body: Body::Empty,
            }
        } else {
            let mut response = ApiResponse::object(200, body);
            let content_type = HeaderValue::from_static(AGGREGATED);
            response.headers.push((header::CONTENT_TYPE, content_type));
            response
        };
        push(&mut response, header::CACHE_CONTROL, "public");
        push(&mut response, header::ETAG, &etag);
        push(&mut response, header::VARY, "Accept");
        response
    }
}

const MEDIA_TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

fn push(response: &mut ApiResponse, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers.push((name, value));
    }
}

/// The entity tag of a document: its SHA-512.
pub(super) fn etag(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(128);
    for byte in Sha512::digest(bytes) {
        _ = write!(out, "{byte:02X}");
    }
    out
}

/// How Go's mux answers for a path that nobody serves.
pub(super) fn page_not_found() -> ApiResponse {
    let mut response = ApiResponse {
        code: 404,
        headers: Vec::new(),
        body: Body::Bytes {
            content_type: "text/plain; charset=utf-8".to_owned(),
            bytes: Bytes::from_static(b"404 page not found\n"),
        },
    };
    push(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

/// The first form in `Accept` that discovery has.
fn accepted(accept: &str) -> Accepted {
    if accept.trim().is_empty() {
        return Accepted::Plain;
    }
    for clause in accept.split(',') {
        let mut parts = clause.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let parameter = |name: &str| {
            let found = parameters.iter().find(|(key, _)| *key == name);
            found.map_or("", |(_, value)| *value)
        };
        let json = matches!(media, "application/json" | "application/*" | "*/*");
        match (json, parameter("as")) {
            (true, "APIGroupDiscoveryList")
                if parameter("g") == "apidiscovery.k8s.io" && parameter("v") == "v2" =>
            {
                return Accepted::Aggregated;
            }
            (true, "") => return Accepted::Plain,
            (false, "")
                if matches!(
                    media,
                    "application/yaml" | "application/vnd.kubernetes.protobuf"
                ) =>
            {
                return Accepted::Plain;
            }
            _ => {}
        }
    }
    Accepted::Nothing
}

fn group_body(name: &str, versions: &[String]) -> Value {
    let described: Vec<Value> = versions
        .iter()
        .map(|version| json!({ "groupVersion": format!("{name}/{version}"), "version": version }))
        .collect();
    let preferred = described.first().cloned().unwrap_or_default();
    json!({ "name": name, "versions": described, "preferredVersion": preferred })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_acceptable_form_is_chosen() {
        let kubectl = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(accepted(kubectl), Accepted::Aggregated);
        assert_eq!(accepted("application/json, */*"), Accepted::Plain);
        assert_eq!(accepted(""), Accepted::Plain);
        assert_eq!(
            accepted("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"),
            Accepted::Nothing
        );
        assert_eq!(accepted("text/html"), Accepted::Nothing);
    }
}
