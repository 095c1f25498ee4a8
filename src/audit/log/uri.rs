//! The object a request URI is about, for lines that do not say it themselves
//! (`k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`).

use super::record::Record;

/// Fills in API group, resource, subresource, namespace and name from the URI.
pub(super) fn fill(record: &mut Record) {
    let path = record.uri.split('?').next().unwrap_or_default().to_owned();
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let group = match parts.next() {
        Some("api") => String::new(),
        Some("apis") => match parts.next() {
            Some(group) => group.to_owned(),
            None => return,
        },
        _ => return,
    };
    if parts.next().is_none() {
        return;
    }
    let mut parts: Vec<&str> = parts.collect();
    // The old prefix for watches.
    if matches!(parts.first(), Some(&("watch" | "proxy"))) {
        parts.remove(0);
    }
    let own = ["status", "finalize"];
    if parts.first() == Some(&"namespaces")
        && let Some(namespace) = parts.get(1)
    {
        record.namespace = (*namespace).to_owned();
        if parts.get(2).is_some_and(|part| !own.contains(part)) {
            parts.drain(..2);
        }
    }
    let part = |at: usize| parts.get(at).copied().unwrap_or_default().to_owned();
    record.resource = part(0);
    record.name = part(1);
    record.subresource = part(2);
    if !record.resource.is_empty() {
        record.api_group = group;
    }
}
