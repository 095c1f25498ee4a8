//! URLs that are not resources.

use super::{Linter, Severity};
use crate::audit::policy::Policy;

pub(super) fn check(linter: &mut Linter<'_>, policy: &Policy) {
    for (at, rule) in policy.rules.iter().enumerate() {
        for (index, url) in rule.non_resource_urls.iter().enumerate() {
            let path = format!("rules[{at}].nonResourceURLs[{index}]");
            if is_resource(url) {
                linter.add(
                    "resource-url",
                    Severity::Error,
                    &path,
                    format!("`{url}` is an API resource: `nonResourceURLs` never matches it"),
                    Some("use `resources`".to_owned()),
                );
            } else if url.contains('?') {
                linter.add(
                    "url-query",
                    Severity::Error,
                    &path,
                    format!("`{url}` has a query: only the path is compared"),
                    None,
                );
            }
        }
    }
}

/// Whether everything this pattern matches is a resource: `/api/v1/pods`, `/apis/apps/v1/deployments*`.
fn is_resource(url: &str) -> bool {
    let mut parts = url
        .trim_end_matches('*')
        .split('/')
        .skip(1)
        .filter(|part| !part.is_empty());
    let depth = match parts.next() {
        Some("api") => 2,
        Some("apis") => 3,
        _ => return false,
    };
    parts.count() >= depth
}
