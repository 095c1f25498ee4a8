//! What a request is about, read from its method and path
//! (`k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`).

use percent_encoding::percent_decode_str;

use super::request::RequestInfo;

/// A path that names a special verb and nothing after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Go's text.
    pub message: String,
}

/// Decoded query parameters, in order.
#[must_use]
pub fn query(uri: &http::Uri) -> Vec<(String, String)> {
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    uri.query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.contains(';'))
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => (decode(key), decode(value)),
            None => (decode(pair), String::new()),
        })
        .collect()
}

/// A boolean query parameter: present and neither `false` nor `0`.
#[must_use]
pub fn is_true(query: &[(String, String)], name: &str) -> bool {
    query
        .iter()
        .find(|(key, _)| key == name)
        .is_some_and(|(_, value)| value != "0" && !value.eq_ignore_ascii_case("false"))
}

/// Understands a request.
///
/// # Errors
/// When the path ends after a special verb.
pub fn request_info(
    method: &http::Method,
    uri: &http::Uri,
    query: &[(String, String)],
) -> Result<RequestInfo, Malformed> {
    let path = percent_decode_str(uri.path())
        .decode_utf8_lossy()
        .into_owned();
    let mut info = RequestInfo {
        verb: method.as_str().to_ascii_lowercase(),
        ..RequestInfo::default()
    };
    let trimmed = path.trim_matches('/');
    let all: Vec<String> = if trimmed.is_empty() {
        Vec::new()
    } else {
        trimmed.split('/').map(str::to_owned).collect()
    };
    info.path = path.clone();
    let mut parts = all.as_slice();
    if parts.len() < 3 {
        return Ok(info);
    }
    let Some((prefix, rest)) = parts.split_first() else {
        return Ok(info);
    };
    if prefix != "api" && prefix != "apis" {
        return Ok(info);
    }
    info.api_prefix.clone_from(prefix);
    parts = rest;
    if prefix == "apis" {
        // One part must be left after the prefix, group and version.
        if parts.len() < 3 {
            return Ok(info);
        }
        if let Some((group, rest)) = parts.split_first() {
            info.group.clone_from(group);
            parts = rest;
        }
    }
    info.is_resource = true;
    if let Some((version, rest)) = parts.split_first() {
        info.version.clone_from(version);
        parts = rest;
    }
    match parts.first().map(String::as_str) {
        Some(verb @ ("proxy" | "watch")) => {
            if parts.len() < 2 {
                return Err(Malformed {
                    message: format!(
                        "unable to determine kind and namespace from url, {}",
                        uri.path()
                    ),
                });
            }
            verb.clone_into(&mut info.verb);
            parts = parts.get(1..).unwrap_or_default();
        }
        _ => {
            info.verb = match method.as_str() {
                "POST" => "create",
                "GET" | "HEAD" => "get",
                "PUT" => "update",
                "PATCH" => "patch",
                "DELETE" => "delete",
                _ => "",
            }
            .to_owned();
        }
    }
    if parts.first().is_some_and(|part| part == "namespaces")
        && let Some(namespace) = parts.get(1)
    {
        info.namespace.clone_from(namespace);
        if parts
            .get(2)
            .is_some_and(|part| part != "status" && part != "finalize")
        {
            parts = parts.get(2..).unwrap_or_default();
        }
    }
    info.parts = parts.to_vec();
    if let Some(subresource) = parts.get(2)
        && info.verb != "proxy"
    {
        info.subresource.clone_from(subresource);
    }
    if let Some(name) = parts.get(1) {
        info.name.clone_from(name);
    }
    if let Some(resource) = parts.first() {
        info.resource.clone_from(resource);
    }
    if info.name.is_empty() && info.verb == "get" {
        info.verb = if is_true(query, "watch") {
            "watch"
        } else {
            "list"
        }
        .to_owned();
        if let Some(name) = selected_name(query) {
            info.name = name;
        }
    }
    if info.name.is_empty() && info.verb == "delete" {
        info.verb = "deletecollection".to_owned();
    }
    Ok(info)
}

/// The name a field selector pins, if it is a possible name.
fn selected_name(query: &[(String, String)]) -> Option<String> {
    let (_, selector) = query.iter().find(|(key, _)| key == "fieldSelector")?;
    let name = selector.split(',').find_map(|term| {
        let value = term
            .strip_prefix("metadata.name==")
            .or_else(|| term.strip_prefix("metadata.name="))?;
        Some(value.to_owned())
    })?;
    let possible =
        !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '%', '\\', '!']);
    possible.then_some(name)
}

/// Whether a request may run for long (`BasicLongRunningRequestCheck` as kube-apiserver sets it up).
#[must_use]
pub fn is_long_running(info: &RequestInfo) -> bool {
    if info.is_resource {
        matches!(info.verb.as_str(), "watch" | "proxy")
            || matches!(
                info.subresource.as_str(),
                "attach" | "exec" | "proxy" | "log" | "portforward"
            )
    } else {
        info.path.starts_with("/debug/pprof/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(method: &str, uri: &str) -> RequestInfo {
        let uri: http::Uri = uri.parse().unwrap();
        let query = query(&uri);
        request_info(&method.parse().unwrap(), &uri, &query).unwrap()
    }

    #[test]
    fn paths_are_understood_as_the_real_server_does() {
        let cases = [
            ("GET", "/api/v1/pods", "list", "", "pods", "", ""),
            ("GET", "/api/v1/pods?watch=1", "watch", "", "pods", "", ""),
            (
                "GET",
                "/api/v1/namespaces/a",
                "get",
                "a",
                "namespaces",
                "a",
                "",
            ),
            (
                "PUT",
                "/api/v1/namespaces/a/finalize",
                "update",
                "a",
                "namespaces",
                "a",
                "finalize",
            ),
            (
                "DELETE",
                "/apis/apps/v1/namespaces/a/deployments",
                "deletecollection",
                "a",
                "deployments",
                "",
                "",
            ),
            (
                "GET",
                "/api/v1/namespaces/a/pods/p/log",
                "get",
                "a",
                "pods",
                "p",
                "log",
            ),
            (
                "GET",
                "/api/v1/pods?fieldSelector=metadata.name%3Dx",
                "list",
                "",
                "pods",
                "x",
                "",
            ),
            (
                "GET",
                "/api/v1/watch/namespaces/a/pods",
                "watch",
                "a",
                "pods",
                "",
                "",
            ),
            ("OPTIONS", "/api/v1/pods", "", "", "pods", "", ""),
        ];
        for (method, uri, verb, namespace, resource, name, subresource) in cases {
            let info = info(method, uri);
            assert!(info.is_resource, "{uri}");
            assert_eq!(
                (
                    info.verb.as_str(),
                    info.namespace.as_str(),
                    info.resource.as_str(),
                    info.name.as_str(),
                    info.subresource.as_str()
                ),
                (verb, namespace, resource, name, subresource),
                "{method} {uri}"
            );
        }
        for uri in ["/", "/api", "/api/v1", "/apis/apps/v1", "/healthz/etcd/x"] {
            assert!(!info("GET", uri).is_resource, "{uri}");
        }
    }
}
