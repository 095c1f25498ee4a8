//! Discovery: `/api`, `/apis` and below, legacy and aggregated.

use std::cmp::Reverse;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha512};

use super::api::{ApiResponse, ApiResult, Body};
use super::catalog::{self, Resource};
use super::request::ApiRequest;
use super::state::{ApiState, CustomResource};
use super::status::Status;

/// The content type of aggregated discovery.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The order in which the API server of custom resources lists their verbs.
const CUSTOM_VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

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

/// A resource as a discovery document shows it.
struct Entry<'a> {
    resource: &'a Resource,
    custom: Option<&'a CustomResource>,
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
                        let resources: Vec<Value> = entries.iter().map(aggregated_resource).collect();
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

impl Entry<'_> {
    fn verbs(&self) -> Vec<&str> {
        let mut verbs: Vec<&str> = self.resource.verbs.iter().map(String::as_str).collect();
        if self.custom.is_some() {
            verbs.sort_by_key(|verb| CUSTOM_VERBS.iter().position(|known| known == verb));
        }
        verbs
    }

    /// `StorageVersionHash` of the version in which objects are stored.
    fn storage_hash(&self) -> Option<String> {
        let resource = self.resource;
        if !resource.verbs.iter().any(|verb| verb == "watch") {
            return None;
        }
        let (group, version) = match self.custom {
            Some(custom) => {
                let versions = custom.definition.pointer("/spec/versions")?.as_array()?;
                let stored = versions
                    .iter()
                    .find(|version| version.get("storage") == Some(&Value::Bool(true)))?;
                (resource.group.as_str(), stored.get("name")?.as_str()?)
            }
            None => match (resource.group.as_str(), resource.name.as_str()) {
                ("events.k8s.io", "events") => ("", "v1"),
                ("autoscaling", _) => ("autoscaling", "v2"),
                (group, "mutatingadmissionpolicies" | "mutatingadmissionpolicybindings") => {
                    (group, "v1beta1")
                }
                (group, _) => (group, resource.version.as_str()),
            },
        };
        let digest = Sha256::digest(format!("{group}/{version}/{}", resource.kind));
        Some(STANDARD.encode(digest.get(..8)?))
    }

    /// Group and version of a response kind; built-in ones are implied.
    fn response_kind(&self, group: &str, version: &str, kind: &str) -> Value {
        let (group, version) = if self.custom.is_some() && version.is_empty() {
            (self.resource.group.as_str(), self.resource.version.as_str())
        } else {
            (group, version)
        };
        json!({ "group": group, "version": version, "kind": kind })
    }
}

/// A resource and its subresources in an `APIResourceList`.
fn legacy(entry: &Entry<'_>) -> Vec<Value> {
    let resource = entry.resource;
    let mut main = Map::new();
    main.insert("name".to_owned(), resource.name.as_str().into());
    main.insert(
        "singularName".to_owned(),
        resource.singular_name.as_str().into(),
    );
    main.insert("namespaced".to_owned(), resource.namespaced.into());
    main.insert("kind".to_owned(), resource.kind.as_str().into());
    main.insert("verbs".to_owned(), entry.verbs().into());
    names(&mut main, resource);
    if let Some(hash) = entry.storage_hash() {
        main.insert("storageVersionHash".to_owned(), hash.into());
    }
    let mut out = vec![Value::Object(main)];
    for sub in &resource.subresources {
        let mut row = Map::new();
        row.insert(
            "name".to_owned(),
            format!("{}/{}", resource.name, sub.name).into(),
        );
        row.insert("singularName".to_owned(), "".into());
        row.insert("namespaced".to_owned(), resource.namespaced.into());
        if !sub.version.is_empty() {
            if !sub.group.is_empty() {
                row.insert("group".to_owned(), sub.group.as_str().into());
            }
            row.insert("version".to_owned(), sub.version.as_str().into());
        }
        row.insert("kind".to_owned(), sub.kind.as_str().into());
        row.insert("verbs".to_owned(), sub.verbs.clone().into());
        out.push(Value::Object(row));
    }
    out
}

fn names(row: &mut Map<String, Value>, resource: &Resource) {
    if !resource.short_names.is_empty() {
        row.insert("shortNames".to_owned(), resource.short_names.clone().into());
    }
    if !resource.categories.is_empty() {
        row.insert("categories".to_owned(), resource.categories.clone().into());
    }
}

fn aggregated_resource(entry: &Entry<'_>) -> Value {
    let resource = entry.resource;
    let mut row = Map::new();
    row.insert("resource".to_owned(), resource.name.as_str().into());
    row.insert(
        "responseKind".to_owned(),
        entry.response_kind("", "", &resource.kind),
    );
    let scope = if resource.namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    row.insert("scope".to_owned(), scope.into());
    row.insert(
        "singularResource".to_owned(),
        resource.singular_name.as_str().into(),
    );
    row.insert("verbs".to_owned(), entry.verbs().into());
    names(&mut row, resource);
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|sub| {
            json!({
                "subresource": sub.name,
                "responseKind": entry.response_kind(&sub.group, &sub.version, &sub.kind),
                "verbs": sub.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        row.insert("subresources".to_owned(), subresources.into());
    }
    Value::Object(row)
}

/// How good a version is (`k8s.io/apimachinery/pkg/version`): GA, beta, alpha, anything else; then numbers, the higher the better.
fn version_rank(version: &str) -> (u8, u64, u64, Reverse<String>) {
    let parsed = (|| {
        let rest = version.strip_prefix('v')?;
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (major, rest) = rest.split_at_checked(end)?;
        let major = major.parse().ok()?;
        if rest.is_empty() {
            return Some((3, major, 0));
        }
        let (rank, minor) = match rest.strip_prefix("beta") {
            Some(minor) => (2, minor),
            None => (1, rest.strip_prefix("alpha")?),
        };
        Some((rank, major, minor.parse().ok()?))
    })();
    let (rank, major, minor) = parsed.unwrap_or((0, 0, 0));
    (rank, major, minor, Reverse(version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_orders_them() {
        let mut versions = [
            "foo",
            "v1alpha1",
            "v2",
            "v1beta2",
            "v10",
            "v1",
            "v1beta10",
            "bar",
            "v11alpha2",
        ];
        versions.sort_by_cached_key(|version| Reverse(version_rank(version)));
        assert_eq!(
            versions,
            [
                "v10",
                "v2",
                "v1",
                "v1beta10",
                "v1beta2",
                "v11alpha2",
                "v1alpha1",
                "bar",
                "foo"
            ]
        );
    }

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
